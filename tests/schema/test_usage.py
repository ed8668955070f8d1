# ruff: noqa: E501 - bodies are written as their providers write them
"""Usage out of provider bodies and streams, against numbers written beside them."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferometer.schema.records import Operation
from inferometer.schema.usage import READERS, endpoint_of, events_of, read_answer
from inferometer.schema.usage.shapes import interface_of

BODIES: dict[str, tuple[str, dict[str, Any], dict[str, int]]] = {
    "openai chat": ("openai", {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_tokens_details": {"cached_tokens": 64, "audio_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 8}}},
        {"input_fresh": 36, "cache_read": 64, "output": 20, "reasoning": 8, "input_audio": 0}),
    "xai, reasoning beside": ("openai", {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 128, "completion_tokens_details": {"reasoning_tokens": 8}}},
        {"input_fresh": 100, "output": 28, "reasoning": 8}),
    "deepseek": ("openai", {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36}},
        {"input_fresh": 36, "cache_read": 64, "output": 20}),
    "embedding": ("openai", {"object": "list", "data": [], "usage": {"prompt_tokens": 7, "total_tokens": 7}}, {"input_fresh": 7, "output": 0}),
    "embedding that tells a total alone": ("openai", {"object": "list", "data": [{"object": "embedding"}], "usage": {"total_tokens": 7}}, {"input_fresh": 7, "output": 0}),
    "rank that tells a total alone": ("openai", {"object": "list", "data": [{"relevance_score": 0.5}], "usage": {"total_tokens": 7}}, {"input_fresh": 7, "output": 0}),
    "rank": ("openai", {"object": "rerank", "results": [{"relevance_score": 0.5}], "usage": {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}}, {"input_fresh": 7, "output": 0}),
    "chat that tells a total alone": ("openai", {"object": "chat.completion", "choices": [], "usage": {"total_tokens": 7}}, {}),
    "responses": ("openai_responses", {"object": "response", "status": "completed", "output": [], "usage": {"input_tokens": 100, "output_tokens": 20, "total_tokens": 120, "input_tokens_details": {"cached_tokens": 64}, "output_tokens_details": {"reasoning_tokens": 8}}},
        {"input_fresh": 36, "cache_read": 64, "output": 20, "reasoning": 8}),
    "assistants": ("openai_assistants", {"object": "thread.run", "id": "run_1", "status": "completed", "model": "gpt-4o", "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120, "prompt_token_details": {"cached_tokens": 64}}},
        {"input_fresh": 36, "cache_read": 64, "output": 20}),
    "anthropic": ("anthropic", {"type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 3, "output_tokens": 20, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 30, "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20}}},
        {"input_fresh": 3, "cache_read": 64, "cache_write_5m": 10, "cache_write_1h": 20, "output": 20}),
    "gemini": ("gemini", {"candidates": [], "usageMetadata": {"promptTokenCount": 100, "cachedContentTokenCount": 40, "candidatesTokenCount": 20, "thoughtsTokenCount": 8, "toolUsePromptTokenCount": 5, "totalTokenCount": 133}},
        {"input_fresh": 65, "cache_read": 40, "output": 28, "reasoning": 8}),
    "converse": ("bedrock", {"output": {}, "stopReason": "end_turn", "usage": {"inputTokens": 3, "outputTokens": 20, "cacheReadInputTokens": 64, "cacheWriteInputTokens": 30, "totalTokens": 117}},
        {"input_fresh": 3, "cache_read": 64, "cache_write_5m": 30, "output": 20}),
    "titan": ("bedrock", {"inputTextTokenCount": 5, "results": [{"tokenCount": 10, "outputText": "x"}]}, {"input_fresh": 5, "output": 10}),
    "cohere": ("cohere", {"finish_reason": "COMPLETE", "usage": {"billed_units": {"input_tokens": 7, "output_tokens": 9}, "tokens": {"input_tokens": 70, "output_tokens": 9}}},
        {"input_fresh": 7, "output": 9}),
    "ollama": ("ollama", {"model": "llama3", "done": True, "prompt_eval_count": 12, "eval_count": 30}, {"input_fresh": 12, "output": 30}),
    "interactions": ("gemini_interactions", {"object": "interaction", "status": "completed", "usage": {"total_input_tokens": 7, "total_output_tokens": 19, "total_thought_tokens": 32, "total_cached_tokens": 0, "total_tokens": 58}},
        {"input_fresh": 7, "cache_read": 0, "output": 51, "reasoning": 32}),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BODIES))
def test_bodies_give_disjoint_meters(name: str) -> None:
    interface, body, expected = BODIES[name]
    assert interface_of(body) == interface
    assert READERS[interface][0](body).meters.as_dict() == expected


ODD = [None, True, -1, 2**70, 1e300, float("nan"), "", "x", [], {}, [[]], {"a": {}}, ["a"], "\x00"]


def mutated(value: Any, chance: random.Random) -> Any:
    """The same with some of it left out or replaced by what nobody foresaw."""
    if isinstance(value, dict):
        return {key: mutated(inner, chance) for key, inner in value.items() if chance.random() > 0.05}
    if isinstance(value, list):
        return [mutated(inner, chance) for inner in value]
    return value if chance.random() > 0.15 else chance.choice(ODD)


EVENTS: list[dict[str, Any]] = [
    {"id": "x", "model": "m", "choices": [{"index": 0, "delta": {"content": "a", "tool_calls": [{"function": {"name": "f"}}]}}]},
    {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "response.output_text.delta", "item_id": "i", "delta": "a"},
    {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [{"type": "message", "content": [{"text": "a"}]}]}},
    {"object": "thread.message.delta", "id": "i", "delta": {"content": [{"text": {"value": "a"}}]}},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"billed_units": {"input_tokens": 1}}}},
    {"contentBlockDelta": {"delta": {"text": "a"}, "contentBlockIndex": 0}},
    {"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]},
]  # fmt: skip


@given(st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_no_odd_body_or_event_raises_or_gives_less_than_nothing(seed: int) -> None:
    chance = random.Random(seed)
    bodies = [mutated(body, chance) for _, body, _ in BODIES.values()]
    events = [mutated(event, chance) for event in EVENTS]
    for read_body, read_stream in READERS.values():
        for usage in (*map(read_body, bodies), read_stream([*events, *bodies]), read_stream(events)):
            assert all(count >= 0 for count in usage.meters.as_dict().values())


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events) + b"data: [DONE]\n\n"


@pytest.mark.parametrize("inner", ["x", "\xe9", "=", "{}"])
def test_event_of_amazon_that_is_no_base64_is_left_out(inner: str) -> None:
    payload = json.dumps({"bytes": inner}, ensure_ascii=False).encode()
    message = struct.pack(">II", len(payload) + 16, 0) + b"\0" * 4 + payload + b"\0" * 4
    assert list(events_of(message)) == []


def test_stream_without_usage_has_texts_and_no_meters() -> None:
    chunks = sse(
        {"id": "x", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "Hel"}}]},
        {"id": "x", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
    )
    usage = READERS["openai"][1](events_of(chunks))
    assert (usage.meters.is_known, usage.texts, usage.is_complete, usage.model) == (False, ["Hello"], True, "gpt-4o")


def test_usage_that_comes_with_every_chunk_is_not_summed() -> None:
    chunks = sse(*({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": number}} for number in (1, 2, 3)))
    assert READERS["openai"][1](events_of(chunks)).meters.as_dict() == {"input_fresh": 5, "output": 3}


def test_broken_off_stream_leaves_out_its_start_count() -> None:
    start = {
        "type": "message_start",
        "message": {"id": "m", "model": "claude", "usage": {"input_tokens": 9, "output_tokens": 1}},
    }
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
    usage = READERS["anthropic"][1](events_of(sse(start, delta)))
    assert usage.meters.as_dict() == {"input_fresh": 9}
    assert not usage.is_complete
    assert usage.texts == ["Hello"]


@pytest.mark.parametrize(("url", "provider", "interface", "model"), [
    ("https://api.openai.com/v1/chat/completions", "openai", "openai", None),
    ("https://x.openai.azure.com/openai/deployments/my-gpt/chat/completions?api-version=1", "azure.ai.openai", "openai", "my-gpt"),
    ("https://api.anthropic.com/v1/messages?beta=true", "anthropic", "anthropic", None),
    ("https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-micro-v1%3A0/converse", "aws.bedrock", "bedrock", "amazon.nova-micro-v1:0"),
    ("https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "gcp.gemini", "gemini", "gemini-2.5-flash"),
    ("https://openrouter.ai/api/v1/chat/completions", "openrouter", "openai", None),
    ("http://localhost:11434/api/chat", "localhost", "ollama", None),
    ("https://api.cohere.com/v2/chat", "cohere", "cohere", None),
    ("https://api.cohere.com/v2/rerank", "cohere", "cohere", None),
    ("https://api.voyageai.com/v1/rerank", "voyage_ai", "openai", None),
    ("http://gpu:8000/v1/rerank", "gpu", "openai", None),
])  # fmt: skip
def test_urls_name_provider_and_interface(url: str, provider: str, interface: str, model: str | None) -> None:
    endpoint = endpoint_of(url)
    assert endpoint is not None
    assert (endpoint.provider, endpoint.interface, endpoint.model) == (provider, interface, model)


def test_a_rank_of_a_server_that_is_not_coheres_counts_what_went_in() -> None:
    endpoint = endpoint_of("http://gpu:8000/v1/rerank")
    assert endpoint is not None
    body = b'{"id": "r", "model": "m", "usage": {"total_tokens": 7}, "results": [{"index": 0, "relevance_score": 0.5}]}'
    usage = read_answer(endpoint, body, stream=False)
    assert usage is not None
    assert (usage.operation, usage.meters.as_dict()) == (Operation.RERANK, {"input_fresh": 7, "output": 0})


def test_other_urls_are_no_model_calls() -> None:
    assert endpoint_of("https://api.openai.com/v1/files") is None
    assert endpoint_of("https://api.anthropic.com/v1/messages/count_tokens") is None
    assert endpoint_of("not a url") is None


def test_error_bodies_are_no_answers() -> None:
    endpoint = endpoint_of("https://api.openai.com/v1/chat/completions")
    assert endpoint is not None
    assert read_answer(endpoint, b'{"error": {"message": "no"}}', stream=False) is None
    assert read_answer(endpoint, b"<html>", stream=False) is None


def openai_counts(usage: dict[str, Any]) -> tuple[int, int]:
    return usage.get("prompt_tokens", usage.get("input_tokens", 0)) or 0, usage.get(
        "completion_tokens", usage.get("output_tokens", 0)
    ) or 0


READ: dict[str, Callable[[dict[str, Any]], tuple[int, int]]] = {
    "anthropic": lambda usage: (usage["input_tokens"] + (usage.get("cache_read_input_tokens") or 0) + (usage.get("cache_creation_input_tokens") or 0), usage["output_tokens"]),
    "gemini": lambda usage: (usage.get("promptTokenCount", 0) + usage.get("toolUsePromptTokenCount", 0), usage.get("candidatesTokenCount", 0) + usage.get("thoughtsTokenCount", 0)),
    "openai": openai_counts,
}  # fmt: skip


def test_collected_usage_bodies_equal_their_counts(shared: Path) -> None:
    from inferometer.schema.usage import anthropic, gemini, openai

    checked = dict.fromkeys(READ, 0)
    for entry in json.loads((shared / "data/http/usages.json").read_bytes()):
        body = entry["body"]
        usage = body.get("usage") or body.get("usageMetadata")
        if not isinstance(usage, dict):
            continue
        if "usageMetadata" in body:
            kind, found = "gemini", gemini.read_usage(usage)
        elif "cache_creation_input_tokens" in usage and "input_tokens" in usage:
            kind, found = "anthropic", anthropic.read_usage(usage)
        elif "prompt_tokens" in usage and "completion_tokens" in usage and not usage.get("completion_tokens_details"):
            kind, found = "openai", openai.read_usage(usage)
        else:
            continue
        checked[kind] += 1
        assert (found.meters.input_total or 0, found.meters.output or 0) == READ[kind](usage), usage
    assert all(count > 50 for count in checked.values()), checked
