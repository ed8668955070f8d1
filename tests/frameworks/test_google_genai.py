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
