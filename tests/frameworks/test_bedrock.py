"""Bedrock through boto3: Converse and InvokeModel against the stub."""

from __future__ import annotations

from collections.abc import Callable
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
