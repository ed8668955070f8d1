"""The openai hook against a real SDK and a real server: what a span says is what the server said."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace import ReadableSpan

import inferometer
from inferometer.testing import Recorded, record
from inferometer.testing.model_stub import Failure, ModelStub, Reply, ToolUse

MESSAGES: Any = [{"role": "user", "content": "what is the plan?"}]
TOOLS: Any = [
    {
        "type": "function",
        "function": {"name": "look", "parameters": {"type": "object", "properties": {"shelf": {"type": "string"}}}},
    }
]


@pytest.fixture
def stub() -> Iterator[ModelStub]:
    """A model server."""
    with ModelStub() as stub:
        yield stub


@pytest.fixture
def client(stub: ModelStub) -> Iterator[openai.OpenAI]:
    """The real SDK, hooked."""
    inferometer.instrument("openai")
    with openai.OpenAI(base_url=stub.openai_url, api_key="x", max_retries=3) as client:
        yield client
    inferometer.uninstrument()


def _async(stub: ModelStub) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=stub.openai_url, api_key="x")


def _only(recorded: Recorded) -> ReadableSpan:
    (span,) = recorded.spans
    return span


def _usage(span: ReadableSpan) -> tuple[Any, Any, Any, Any]:
    attributes = span.attributes or {}
    names = ("input_tokens", "output_tokens", "cache_read.input_tokens", "reasoning.output_tokens")
    return tuple(attributes.get(f"gen_ai.usage.{name}") for name in names)  # type: ignore[return-value]


def test_chat_says_what_the_server_said(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    stub.script(
        Reply("fine", input_tokens=50, output_tokens=9, cached_tokens=32, reasoning_tokens=4, service_tier="flex")
    )
    client.chat.completions.create(model="gpt-4o", messages=MESSAGES, temperature=0.5, max_completion_tokens=99)
    span = _only(recorded)
    assert span.name == "chat gpt-4o"
    assert span.kind.name == "CLIENT"
    assert _usage(span) == (50, 9, 32, 4)
    said = span.attributes
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.provider.name"] == "openai"
    assert said["gen_ai.request.temperature"] == 0.5
    assert said["gen_ai.request.max_tokens"] == 99
    assert said["gen_ai.response.finish_reasons"] == ("stop",)
    assert said["gen_ai.response.id"] == "chatcmpl-stub-000001"
    assert said["openai.response.service_tier"] == said["inferometer.service_tier"] == "flex"
    assert said["inferometer.usage.source"] == "provider"
    assert said["server.address"] == "127.0.0.1"


def test_content_stays_out_unless_asked_for(stub: ModelStub, client: openai.OpenAI) -> None:
    stub.script(Reply("the answer is SECRET-OUT"))
    secret: Any = [{"role": "user", "content": "SECRET-IN"}]
    with record() as recorded:
        client.chat.completions.create(model="gpt-4o", messages=secret, tools=TOOLS)
        assert "SECRET" not in _only(recorded).to_json()
    stub.script(Reply("the answer is SECRET-OUT"))
    with record(capture="content") as recorded:
        client.chat.completions.create(model="gpt-4o", messages=secret, tools=TOOLS)
        said = _only(recorded).attributes
    assert "SECRET-IN" in said["gen_ai.input.messages"]
    assert "SECRET-OUT" in said["gen_ai.output.messages"]
    assert "look" in said["gen_ai.tool.definitions"]


def test_retries_are_attempts_of_one_call(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    stub.script(Failure(429, retry_after_s=0.001), Failure(503, retry_after_s=0.001))
    client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    said = _only(recorded).attributes
    assert said["inferometer.attempt.statuses"] == (429, 503, 200)
    ends = said["inferometer.attempt.ends_ns"]
    assert all(start <= end for start, end in zip(said["inferometer.attempt.starts_ns"], ends, strict=True))


def test_failed_call_is_an_error_with_its_status(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    stub.script(Failure(400, "bad SECRET"))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    span = _only(recorded)
    assert span.attributes["error.type"] == "openai.BadRequestError"
    assert span.attributes["inferometer.attempt.statuses"] == (400,)
    assert span.attributes["inferometer.usage.source"] == "absent"
    assert "SECRET" not in span.to_json()


def test_unreachable_server_is_attempts_without_status(recorded: Recorded) -> None:
    inferometer.instrument("openai")
    with (
        openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="x", max_retries=1) as client,
        pytest.raises(openai.APIConnectionError),
    ):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    inferometer.uninstrument()
    assert _only(recorded).attributes["inferometer.attempt.statuses"] == (0, 0)


def test_stream_asks_for_usage_and_hides_the_chunk_it_came_in(
    stub: ModelStub, client: openai.OpenAI, recorded: Recorded
) -> None:
    stub.script(Reply("one two three", input_tokens=7, output_tokens=3))
    chunks = list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert stub.requests[0].body["stream_options"] == {"include_usage": True}
    span = _only(recorded)
    assert _usage(span)[:2] == (7, 3)
    assert span.attributes["inferometer.chunks"] == 3
    assert span.attributes["inferometer.ttft_ns"] > 0
    assert span.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert {"inferometer.inter_token.p50_ns", "inferometer.inter_token.p95_ns"} <= set(span.attributes)


def test_usage_chunk_that_the_program_asked_for_is_not_hidden(
    stub: ModelStub, client: openai.OpenAI, recorded: Recorded
) -> None:
    wanted: Any = {"include_usage": True}
    stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True, stream_options=wanted)
    assert list(stream)[-1].usage is not None
    assert _only(recorded).attributes["inferometer.usage.source"] == "provider"


def test_program_that_declines_usage_is_obeyed(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    declined: Any = {"include_usage": False}
    list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True, stream_options=declined))
    assert stub.requests[0].body["stream_options"] == {"include_usage": False}


def test_server_that_refuses_the_option_is_asked_as_the_program_wrote_it(
    stub: ModelStub, client: openai.OpenAI, recorded: Recorded
) -> None:
    stub.script(Failure(400, "unknown field: stream_options"))
    for _ in range(2):
        assert list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert ["stream_options" in received.body for received in stub.requests] == [True, False, False]
    assert [span.attributes["inferometer.attempt.statuses"] for span in recorded.spans] == [(400, 200), (200,)]


def test_stream_closed_early_is_aborted(client: openai.OpenAI, recorded: Recorded) -> None:
    stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    next(iter(stream))
    assert recorded.spans == []
    stream.close()
    span = _only(recorded)
    assert span.attributes["inferometer.aborted"] is True


def test_stream_that_is_forgotten_is_aborted(client: openai.OpenAI, recorded: Recorded) -> None:
    stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    next(iter(stream))
    stream.response.close()
    del stream
    gc.collect()
    assert _only(recorded).attributes["inferometer.aborted"] is True


def test_stream_cut_by_the_server_fails(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    stub.script(Reply("one two three four", breaks_after=3))
    with pytest.raises(openai.APIError):
        list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    span = _only(recorded)
    assert span.status.status_code.name == "ERROR"
    assert span.attributes["inferometer.chunks"] == 2


def test_stream_helpers_keep_their_types_and_are_seen(client: openai.OpenAI, recorded: Recorded) -> None:
    with client.chat.completions.stream(model="gpt-4o", messages=MESSAGES) as stream:
        final = stream.get_final_completion()
    with client.responses.stream(model="gpt-4o", input="hello") as events:
        events.until_done()
    assert final.choices[0].message.content
    assert [span.attributes["inferometer.usage.source"] for span in recorded.spans] == ["provider", "provider"]


def test_responses_are_read_in_one_piece_and_as_events(
    stub: ModelStub, client: openai.OpenAI, recorded: Recorded
) -> None:
    stub.script(*(Reply("fine", input_tokens=50, output_tokens=9, cached_tokens=32, reasoning_tokens=4),) * 2)
    client.responses.create(model="gpt-4o", input="hello", reasoning={"effort": "low"})
    list(client.responses.create(model="gpt-4o", input="hello", stream=True))
    plain, streamed = recorded.spans
    assert _usage(plain) == _usage(streamed) == (50, 9, 32, 4)
    assert plain.attributes["openai.api.type"] == "responses"
    assert plain.attributes["gen_ai.request.reasoning.level"] == "low"
    assert streamed.attributes["gen_ai.request.stream"] is True
    assert streamed.attributes["inferometer.chunks"] == 1


def test_embeddings_are_seen(client: openai.OpenAI, recorded: Recorded) -> None:
    client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], dimensions=8)
    span = _only(recorded)
    assert span.name == "embeddings text-embedding-3-small"
    assert span.attributes["gen_ai.embeddings.dimension.count"] == 8
    assert span.attributes["gen_ai.usage.input_tokens"] == 2


def test_raw_and_parsed_responses_are_seen(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    stub.script(*(Reply("{}", input_tokens=7, output_tokens=3),) * 4)
    chat = client.chat.completions
    assert chat.with_raw_response.create(model="gpt-4o", messages=MESSAGES).parse().choices
    with chat.with_streaming_response.create(model="gpt-4o", messages=MESSAGES) as raw:
        assert raw.read()
    wanted: Any = {"include_usage": True}
    with chat.with_streaming_response.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options=wanted
    ) as raw:
        assert any("[DONE]" in line for line in raw.iter_lines())

    class Plan(openai.BaseModel): ...

    assert chat.parse(model="gpt-4o", messages=MESSAGES, response_format=Plan).choices[0].message.parsed is not None
    assert [_usage(span)[:2] for span in recorded.spans] == [(7, 3)] * 4


def test_async_client_is_seen_like_the_sync_one(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    stub.script(*(Reply("one two", input_tokens=7, output_tokens=3),) * 3)

    async def main() -> None:
        async with _async(stub) as client:
            await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
            async for chunk in await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True):
                assert chunk.choices
            async with client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=MESSAGES) as raw:
                await raw.read()
            stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
            await anext(aiter(stream))
            await stream.close()

    asyncio.run(main())
    spans = recorded.spans
    assert [_usage(span)[:2] for span in spans[:3]] == [(7, 3)] * 3
    assert spans[1].attributes["inferometer.chunks"] == 2
    assert spans[3].attributes["inferometer.aborted"] is True


def test_tool_calls_that_stream_are_content(stub: ModelStub, client: openai.OpenAI, recorded: Recorded) -> None:
    stub.script(Reply(tools=[ToolUse("look", {"shelf": "a"})]))
    list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, tools=TOOLS, stream=True))
    span = _only(recorded)
    assert span.attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert span.attributes["inferometer.chunks"] == 2


def test_calls_nest_under_what_made_them(client: openai.OpenAI, recorded: Recorded) -> None:
    with inferometer.agent("clerk"):
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        stream = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
    list(stream)
    assert [parent for _, parent in recorded.tree()] == [None, "invoke_agent clerk", "invoke_agent clerk"]


def test_other_endpoints_are_left_alone(client: openai.OpenAI, recorded: Recorded) -> None:
    assert client.models.list().data
    assert recorded.spans == []


def test_uninstrument_restores_every_original() -> None:
    import httpx2

    owners = [(openai.OpenAI, "request"), (openai.AsyncOpenAI, "request"), (httpx2.Client, "send")]
    before = [(vars(owner).get(name), getattr(owner, name)) for owner, name in owners]
    inferometer.instrument("openai")
    assert [getattr(owner, name) for owner, name in owners] != [found for _, found in before]
    inferometer.uninstrument()
    assert [(vars(owner).get(name), getattr(owner, name)) for owner, name in owners] == before


def test_hook_without_configuration_is_silent(client: openai.OpenAI) -> None:
    assert client.chat.completions.create(model="gpt-4o", messages=MESSAGES).choices
