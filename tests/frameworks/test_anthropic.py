"""The anthropic SDK, which traces itself where a provider is set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from opentelemetry import trace as otel_trace
from opentelemetry.sdk.trace import TracerProvider

import inferometer
from inferometer.testing.model_stub import Failure, ModelStub, Reply, ToolUse

anthropic = pytest.importorskip("anthropic")

MESSAGES: Any = [{"role": "user", "content": "Xyzzy-4711: what is the plan?"}]
TOOLS: Any = [{"name": "look", "description": "Xyzzy-4711", "input_schema": {"type": "object", "properties": {}}}]


def _client(stub: ModelStub) -> Any:
    return anthropic.Anthropic(base_url=stub.url, api_key="x", max_retries=2)


def test_messages(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(
            Failure(529, retry_after_s=0.001),
            Reply(tools=[ToolUse("look", {})], input_tokens=90, output_tokens=9, cached_tokens=40, cache_write_5m=20),
            Reply("fine", input_tokens=99, output_tokens=3, cached_tokens=60, cache_write_5m=2, cache_write_1h=5),
            Reply("one two three", input_tokens=50, output_tokens=3, cached_tokens=8),
        )
        with inferometer.agent("clerk"), _client(stub) as client:
            client.messages.create(
                model="claude-sonnet-5", max_tokens=99, system="be brief", messages=MESSAGES, tools=TOOLS
            )
            list(client.messages.create(model="claude-sonnet-5", max_tokens=99, messages=MESSAGES, stream=True))
            with client.messages.stream(model="claude-sonnet-5", max_tokens=99, messages=MESSAGES) as stream:
                assert stream.get_final_text() == "one two three"

    spans = trace(scenario, "anthropic", package="anthropic")
    first, second, third = (span.attributes for span in spans if span.name.startswith("chat"))
    assert first["inferometer.attempt.statuses"] == (529, 200)
    assert first["gen_ai.usage.input_tokens"] == 90
    assert (
        first["gen_ai.usage.cache_write.input_tokens"] == first["inferometer.usage.cache_write_5m.input_tokens"] == 20
    )
    assert second["inferometer.usage.cache_write_1h.input_tokens"] == 5
    assert third["inferometer.chunks"] == 3
    assert first["inferometer.composition.system_tokens"] > 0


def test_async_and_errors(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(
            Reply("fine", input_tokens=9, output_tokens=3), Reply("a b", input_tokens=9, output_tokens=3), Failure(400)
        )

        async def main() -> None:
            async with anthropic.AsyncAnthropic(base_url=stub.url, api_key="x") as client:
                await client.messages.create(model="claude-sonnet-5", max_tokens=99, messages=MESSAGES)
                async with client.messages.stream(model="claude-sonnet-5", max_tokens=9, messages=MESSAGES) as stream:
                    async for _ in stream.text_stream:
                        pass
                with pytest.raises(anthropic.BadRequestError):
                    await client.messages.create(model="claude-sonnet-5", max_tokens=99, messages=MESSAGES)

        asyncio.run(main())

    spans = trace(scenario, "anthropic", package="anthropic")
    assert [span.status.status_code.name for span in spans] == ["UNSET", "UNSET", "ERROR"]


def test_its_own_spans_are_not_doubled(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(*(Reply("fine", input_tokens=9, output_tokens=3) for _ in range(2)))
        with _client(stub) as client:
            client.messages.create(model="claude-sonnet-5", max_tokens=99, messages=MESSAGES)
            list(client.messages.create(model="claude-sonnet-5", max_tokens=99, messages=MESSAGES, stream=True))

    with mock.patch.object(otel_trace, "_TRACER_PROVIDER", TracerProvider(shutdown_on_exit=False)):
        spans = trace(scenario, "anthropic", package="anthropic")
    assert [span.name for span in spans] == ["chat claude-sonnet-5"] * 2


def test_its_own_spans_alone(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(Reply("fine", input_tokens=9, output_tokens=3, cached_tokens=4))
        with _client(stub) as client:
            client.messages.create(model="claude-sonnet-5", max_tokens=99, messages=MESSAGES)

    (span,) = trace(scenario, package="anthropic", set_global_provider=True)
    assert span.instrumentation_scope.name == "com.anthropic.sdk.python"


def test_recorded_traffic(traffic: Callable[..., Any], meters_of: Callable[..., Any]) -> None:
    import httpx2

    seen = {"whole": 0, "stream": 0}
    for one in traffic("api.anthropic.com", ("/v1/messages",)):
        events = one.events() if one.is_stream else [{"message": one.document()}]
        usage: dict[str, Any] = {}
        for event in events:
            for told in ((event.get("message") or {}).get("usage"), event.get("usage")):
                usage.update({key: value for key, value in (told or {}).items() if value is not None})
        if "input_tokens" not in usage:
            continue  # a body that says nothing of usage
        transport = httpx2.MockTransport(
            lambda request, one=one: httpx2.Response(200, content=one.body, headers={"content-type": one.content_type})
        )

        def call(one: Any = one, transport: Any = transport) -> None:
            with anthropic.Anthropic(api_key="x", http_client=httpx2.Client(transport=transport)) as client:
                body = {**one.request, "max_tokens": one.request.get("max_tokens", 1)}
                kind = anthropic.types.RawMessageStreamEvent if one.is_stream else anthropic.types.Message
                more = {"stream": True, "stream_cls": anthropic.Stream[kind]} if one.is_stream else {}
                answer = client.post("/v1/messages", cast_to=kind, body=body, **more)
                if one.is_stream:
                    list(answer)

        found = meters_of(call, "anthropic")
        read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
        expected = (usage["input_tokens"] + read + written, usage["output_tokens"], read, "provider")
        assert found == expected, (one.url, usage)
        seen["stream" if one.is_stream else "whole"] += 1
    assert seen["whole"] > 10, seen
    assert seen["stream"] > 5, seen
