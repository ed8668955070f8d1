"""Anthropic's interface: messages, streamed or not, and token counting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inferometer.testing.model_stub.brain import Failure, Prompt, Reply, tokens_of
from inferometer.testing.model_stub.openai import pieces, text_of

_ERRORS = {429: "rate_limit_error", 529: "overloaded_error", 401: "authentication_error", 404: "not_found_error"}


def matches(path: str) -> bool:
    """Whether a path belongs to Anthropic's interface."""
    return path.endswith(("/v1/messages", "/v1/messages/count_tokens"))


def prompt_of(path: str, body: Any) -> Prompt | None:
    """Return what a request asks; None where tokens are only to be counted."""
    if not isinstance(body, Mapping) or path.endswith("count_tokens"):
        return None
    tools = [(str(tool.get("name")), tool.get("input_schema") or {}) for tool in body.get("tools") or ()]
    return Prompt(str(body.get("model")), list(_turns(body)), tools, bool(body.get("stream")))


def _turns(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if body.get("system"):
        yield "system", text_of(body["system"])
    for message in body.get("messages") or ():
        content = message.get("content")
        if isinstance(content, str):
            yield str(message.get("role")), content
            continue
        for block in content or ():
            if block.get("type") == "tool_result":
                yield "tool", text_of(block.get("content"))
            elif block.get("type") == "tool_use":
                yield "assistant", f"{block.get('name')}{json.dumps(block.get('input'))}"
            else:
                yield str(message.get("role")), text_of(block)


def other(path: str, body: Any) -> dict[str, Any]:
    """Return a token count."""
    return {"input_tokens": tokens_of(json.dumps(body))}


def error(failure: Failure) -> dict[str, Any]:
    """Return the body of an error."""
    kind = _ERRORS.get(failure.status, "api_error" if failure.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": failure.message}}


def body(path: str, reply: Reply, prompt: Prompt) -> dict[str, Any]:
    """Return an answer in one piece."""
    return {**_head(reply, prompt), "content": _blocks(reply), "stop_reason": _stop(reply), "usage": _usage(reply)}


def _head(reply: Reply, prompt: Prompt) -> dict[str, Any]:
    return {
        "id": f"msg_{reply.response_id}",
        "type": "message",
        "role": "assistant",
        "model": prompt.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop(reply: Reply) -> str:
    return "tool_use" if reply.tools else "end_turn"


def _blocks(reply: Reply) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text or not reply.tools else []
    return blocks + [
        {"type": "tool_use", "id": f"toolu_{use.call_id}", "name": use.name, "input": use.arguments}
        for use in reply.tools
    ]


def _usage(reply: Reply) -> dict[str, Any]:
    assert reply.input_tokens is not None
    assert reply.cached_tokens is not None
    written = reply.cache_write_5m + reply.cache_write_1h
    return {
        "input_tokens": reply.input_tokens - reply.cached_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": reply.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": reply.cache_write_5m,
            "ephemeral_1h_input_tokens": reply.cache_write_1h,
        },
        "output_tokens": reply.output_tokens,
        "service_tier": reply.service_tier or "standard",
    }


def chunks(path: str, reply: Reply, prompt: Prompt, request: Mapping[str, Any]) -> Iterable[bytes]:
    """Return a streamed answer as server-sent events."""
    for event in _events(reply, prompt):
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


def _events(reply: Reply, prompt: Prompt) -> Iterator[dict[str, Any]]:
    usage = _usage(reply)
    yield {"type": "message_start", "message": {**_head(reply, prompt), "usage": {**usage, "output_tokens": 1}}}
    for index, block in enumerate(_blocks(reply)):
        if block["type"] == "text":
            yield {"type": "content_block_start", "index": index, "content_block": {"type": "text", "text": ""}}
            for piece in pieces(block["text"]):
                delta = {"type": "text_delta", "text": piece}
                yield {"type": "content_block_delta", "index": index, "delta": delta}
        else:
            yield {"type": "content_block_start", "index": index, "content_block": {**block, "input": {}}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": _stop(reply), "stop_sequence": None},
        "usage": {"output_tokens": usage["output_tokens"]},
    }
    yield {"type": "message_stop"}
