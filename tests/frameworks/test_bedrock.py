"""Bedrock through boto3: Converse and InvokeModel against the stub."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from inferometer.testing.model_stub import Failure, ModelStub, Reply, ToolUse

boto3 = pytest.importorskip("boto3")
MESSAGES: Any = [{"role": "user", "content": [{"text": "Xyzzy-4711: what is the plan?"}]}]
MODEL = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def _client(stub: ModelStub) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=stub.url,
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


def test_converse(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(
            Reply(tools=[ToolUse("look", {})], input_tokens=90, output_tokens=9, cached_tokens=40, cache_write_5m=20),
            Reply("one two three", input_tokens=50, output_tokens=3, cached_tokens=8),
            Failure(400, code="ValidationException"),
        )
        client = _client(stub)
        client.converse(modelId=MODEL, messages=MESSAGES, inferenceConfig={"maxTokens": 9, "temperature": 0.5})
        events = list(client.converse_stream(modelId=MODEL, messages=MESSAGES)["stream"])
        assert events[-1]["metadata"]["usage"]["outputTokens"] == 3
        with pytest.raises(client.exceptions.ClientError):
            client.converse(modelId=MODEL, messages=MESSAGES)

    plain, streamed, failed = trace(scenario, "bedrock", package="boto3")
    assert plain.attributes["gen_ai.usage.input_tokens"] == 90
    assert plain.attributes["gen_ai.usage.cache_write.input_tokens"] == 20
    assert plain.attributes["gen_ai.request.max_tokens"] == 9
    assert streamed.attributes["inferometer.chunks"] == 3
    assert failed.status.status_code.name == "ERROR"


class _Raw(io.BytesIO):
    """A body as botocore reads it from the network."""

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        yield self.read()


def test_recorded_traffic(traffic: Callable[..., Any], meters_of: Callable[..., Any]) -> None:
    from urllib.parse import unquote

    from botocore.awsrequest import AWSResponse

    seen = {"converse": 0, "invoke": 0}
    for one in traffic("bedrock-runtime", ("/converse", "/invoke")):
        document = one.document() or {}
        usage = document.get("usage") or {}
        if "inputTokens" not in usage and "input_tokens" not in usage:
            continue  # a family whose bodies say nothing of usage
        parts = one.url.partition("?")[0].split("/")
        kind, model = parts[-1], unquote(parts[-2])

        def call(one: Any = one, kind: str = kind, model: str = model) -> None:
            client = boto3.client(
                "bedrock-runtime", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
            )
            headers = {"content-type": "application/json"}
            client.meta.events.register(
                "before-send.bedrock-runtime", lambda **more: AWSResponse(one.url, 200, headers, _Raw(one.body))
            )
            if kind == "converse":
                client.converse(modelId=model, messages=MESSAGES)
            else:
                assert client.invoke_model(modelId=model, body=json.dumps(one.request))["body"].read() == one.body

        found = meters_of(call, "bedrock")
        read = usage.get("cacheReadInputTokens", usage.get("cache_read_input_tokens")) or 0
        written = usage.get("cacheWriteInputTokens", usage.get("cache_creation_input_tokens")) or 0
        given = usage.get("inputTokens", usage.get("input_tokens"))
        made = usage.get("outputTokens", usage.get("output_tokens"))
        assert found == (given + read + written, made, read, "provider"), (one.url, usage)
        seen[kind] += 1
    assert seen["converse"] > 5, seen
    assert seen["invoke"] > 2, seen
