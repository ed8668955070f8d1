"""Recorded traffic of OpenAI and all who speak its language, through the real SDK: meters equal the bodies' usage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai

import inferometer
from inferometer.testing import record
from inferometer.testing.cassettes import Interaction, read_cassettes

PATHS = ("/chat/completions", "/responses", "/embeddings", "/completions")


def _interactions(folder: Path) -> Iterator[tuple[str, Interaction]]:
    for one in read_cassettes(folder):
        path = next((path for path in PATHS if one.url.partition("?")[0].endswith(path)), None)
        if path is not None and one.method == "POST" and one.status == 200 and isinstance(one.request, dict):
            yield path, one


def _stated(one: Interaction) -> dict[str, Any] | None:
    """Return the usage that the body itself states, found without the code under test."""
    if not one.is_stream:
        document = one.document()
        return document.get("usage") if isinstance(document, dict) else None
    usage = None
    for event in one.events():
        for holder in (event, event.get("response") if isinstance(event, dict) else None):
            if isinstance(holder, dict) and isinstance(holder.get("usage"), dict):
                usage = holder["usage"]
    return usage


def _tokens(usage: dict[str, Any]) -> tuple[int, int, int, int]:
    inside = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    outside = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    return (
        usage.get("prompt_tokens", usage.get("input_tokens", 0)) or 0,
        usage.get("completion_tokens", usage.get("output_tokens", 0)) or 0,
        inside.get("cached_tokens") or 0,
        outside.get("reasoning_tokens") or 0,
    )


def _replay(path: str, one: Interaction) -> None:
    """Send the recorded request through the SDK and answer it with the recorded body."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=one.body, headers={"content-type": one.content_type})

    client = openai.OpenAI(
        api_key="x",
        base_url="https://api.openai.com/v1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(answer)),
    )
    with client:
        if one.is_stream:
            kinds: dict[str, Any] = {
                "/responses": openai.types.responses.ResponseStreamEvent,
                "/chat/completions": openai.types.chat.ChatCompletionChunk,
            }
            kind = kinds.get(path, openai.types.Completion)
            for _ in client.post(path, cast_to=kind, body=one.request, stream=True, stream_cls=openai.Stream[kind]):
                pass
        else:
            answers: dict[str, Any] = {
                "/responses": openai.types.responses.Response,
                "/chat/completions": openai.types.chat.ChatCompletion,
                "/embeddings": openai.types.CreateEmbeddingResponse,
            }
            client.post(path, cast_to=answers.get(path, openai.types.Completion), body=one.request)


def test_meters_equal_the_usage_of_recorded_bodies(shared: Path) -> None:
    seen: Counter[str] = Counter()
    inferometer.instrument("openai")
    try:
        for path, one in _interactions(shared / "data" / "http"):
            with record() as recorded:
                try:
                    _replay(path, one)
                except (openai.APIError, ValueError):
                    # an error as a body, or events that the SDK itself cannot read
                    seen["not read by the SDK"] += 1
                    continue
                (span,) = recorded.spans
            said, usage = span.attributes or {}, _stated(one)
            if usage is None or not any(_tokens(usage)):
                assert said["inferometer.usage.source"] in ("absent", "counted", "estimated"), one.url
                seen["without usage"] += 1
                continue
            found = tuple(
                said.get(f"gen_ai.usage.{name}", 0)
                for name in ("input_tokens", "output_tokens", "cache_read.input_tokens", "reasoning.output_tokens")
            )
            assert found == _tokens(usage), (one.url, json.dumps(usage))
            assert said["inferometer.usage.source"] == "provider"
            seen["stream" if one.is_stream else "whole"] += 1
    finally:
        inferometer.uninstrument()
    assert seen["not read by the SDK"] < 10, seen
    assert seen["whole"] > 100, seen
    assert seen["stream"] > 20, seen
