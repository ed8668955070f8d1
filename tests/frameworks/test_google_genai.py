"""The google-genai SDK: every HTTP request to a model is a call, those of automatic function calling too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import inferometer
from inferometer.testing.model_stub import Failure, ModelStub, Reply

genai = pytest.importorskip("google.genai")

CONTENTS = "Xyzzy-4711: what is the plan?"


def _client(stub: ModelStub) -> Any:
    return genai.Client(api_key="x", http_options=genai.types.HttpOptions(base_url=stub.url))


@inferometer.tool
def look(shelf: str) -> str:
    """Look at a shelf."""
    return "Xyzzy-4711"


def test_generate_content(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(
            Reply("fine", input_tokens=50, output_tokens=9, cached_tokens=32, reasoning_tokens=4),
            Reply("one two", input_tokens=20, output_tokens=2),
            Failure(429),
        )
        client = _client(stub)
        models = client.models
        config = genai.types.GenerateContentConfig(temperature=0.5, max_output_tokens=64, system_instruction="be brief")
        models.generate_content(model="gemini-2.5-flash", contents=CONTENTS, config=config)
        list(models.generate_content_stream(model="gemini-2.5-flash", contents=CONTENTS))
        with pytest.raises(genai.errors.ClientError):
            models.generate_content(model="gemini-2.5-flash", contents=CONTENTS)

    plain, streamed, failed = trace(scenario, "google-genai", package="google-genai")
    assert plain.attributes["gen_ai.request.temperature"] == 0.5
    assert plain.attributes["gen_ai.usage.reasoning.output_tokens"] == 4
    assert streamed.attributes["inferometer.chunks"] == 2
    assert failed.attributes["inferometer.attempt.statuses"] == (429,)


def test_automatic_function_calling(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        config = genai.types.GenerateContentConfig(tools=[look])
        with inferometer.agent("clerk"):
            assert (
                _client(stub).models.generate_content(model="gemini-2.5-flash", contents=CONTENTS, config=config).text
            )

    spans = trace(scenario, "google-genai", package="google-genai")
    assert [span.name for span in spans] == [
        "generate_content gemini-2.5-flash",
        "execute_tool look",
        "generate_content gemini-2.5-flash",
        "invoke_agent clerk",
    ]


def test_async(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        async def main() -> None:
            client = _client(stub)
            models = client.aio.models
            await models.generate_content(model="gemini-2.5-flash", contents=CONTENTS)
            async for _ in await models.generate_content_stream(model="gemini-2.5-flash", contents=CONTENTS):
                pass

        asyncio.run(main())

    assert len(trace(scenario, "google-genai", package="google-genai")) == 2


def test_recorded_traffic(traffic: Callable[..., Any], meters_of: Callable[..., Any]) -> None:
    import httpx2

    seen = {"whole": 0, "stream": 0}
    for one in traffic("generativelanguage.googleapis.com", (":generateContent", ":streamGenerateContent")):
        bodies = one.events() if one.is_stream else [one.document()]
        usage: dict[str, Any] = {}
        for body in bodies:
            usage = (body or {}).get("usageMetadata") or usage
        if "promptTokenCount" not in usage:
            continue  # a body that says nothing of usage
        method = one.url.partition("?")[0].rpartition("/")[2]
        transport = httpx2.MockTransport(
            lambda request, one=one: httpx2.Response(200, content=one.body, headers={"content-type": one.content_type})
        )

        def call(one: Any = one, transport: Any = transport, method: str = method) -> None:
            options = genai.types.HttpOptions(httpx_client=httpx2.Client(transport=transport))
            client = genai.Client(api_key="x", http_options=options)
            if one.is_stream:
                list(client._api_client.request_streamed("post", f"models/{method}?alt=sse", one.request))
            else:
                client._api_client.request("post", f"models/{method}", one.request)

        found = meters_of(call, "google-genai")
        given = usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0)
        made = usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)
        expected = (given, made, usage.get("cachedContentTokenCount", 0), "provider")
        if "candidatesTokenCount" not in usage and "thoughtsTokenCount" not in usage:
            expected = (given, usage.get("totalTokenCount", given) - given, expected[2], "provider")
        assert found == expected, (one.url, usage)
        seen["stream" if one.is_stream else "whole"] += 1
    assert seen["whole"] > 5, seen
    assert seen["stream"] > 0, seen
