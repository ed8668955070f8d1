"""Gemini's interface: generateContent, streamed or not, embeddings and token counting."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inferometer.testing.model_stub.brain import Failure, Prompt, Reply, tokens_of
from inferometer.testing.model_stub.openai import pieces

_METHODS = (":generateContent", ":streamGenerateContent", ":embedContent", ":batchEmbedContents", ":countTokens")


def matches(path: str) -> bool:
    """Whether a path belongs to Gemini's interface."""
    return path.endswith(_METHODS)


def prompt_of(path: str, body: Any) -> Prompt | None:
    """Return what a request asks; None for embeddings and counting."""
    if not isinstance(body, Mapping) or "enerateContent" not in path:
        return None
    model = path.rpartition("/")[2].partition(":")[0]
    tools = [
        (str(declared.get("name")), declared.get("parameters") or declared.get("parametersJsonSchema") or {})
        for tool in body.get("tools") or ()
        for declared in tool.get("functionDeclarations") or ()
    ]
    return Prompt(model, list(_turns(body)), tools, ":stream" in path)


def _turns(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for part in (body.get("systemInstruction") or {}).get("parts") or ():
        yield "system", str(part.get("text", ""))
    for content in body.get("contents") or ():
        role = {"model": "assistant"}.get(str(content.get("role")), "user")
        for part in content.get("parts") or ():
            if "functionResponse" in part:
                yield "tool", json.dumps(part["functionResponse"].get("response"))
            elif "functionCall" in part:
                yield "assistant", json.dumps(part["functionCall"])
            else:
                yield role, str(part.get("text", ""))


def other(path: str, body: Any) -> dict[str, Any]:
    """Return embeddings or a token count."""
    if path.endswith(":countTokens"):
        return {"totalTokens": tokens_of(json.dumps(body))}
    values = {"values": [0.25, 0.5, 0.75, 1.0]}
    if path.endswith(":embedContent"):
        return {"embedding": values}
    return {"embeddings": [values for _ in (body or {}).get("requests") or ()]}


def error(failure: Failure) -> dict[str, Any]:
    """Return the body of an error."""
    status = {429: "RESOURCE_EXHAUSTED", 400: "INVALID_ARGUMENT", 503: "UNAVAILABLE"}.get(failure.status, "INTERNAL")
    return {"error": {"code": failure.status, "message": failure.message, "status": status}}


def body(path: str, reply: Reply, prompt: Prompt) -> dict[str, Any]:
    """Return an answer in one piece."""
    parts: list[dict[str, Any]] = [{"text": reply.text}] if reply.text or not reply.tools else []
    parts += [{"functionCall": {"name": use.name, "args": use.arguments}} for use in reply.tools]
    return _document(reply, prompt, parts, True)


def _document(reply: Reply, prompt: Prompt, parts: list[dict[str, Any]], last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    document: dict[str, Any] = {
        "candidates": [candidate],
        "modelVersion": prompt.model,
        "responseId": reply.response_id,
    }
    if last:
        candidate["finishReason"] = "STOP"
        assert reply.output_tokens is not None
        assert reply.input_tokens is not None
        document["usageMetadata"] = {
            "promptTokenCount": reply.input_tokens,
            "cachedContentTokenCount": reply.cached_tokens,
            # thoughts are counted beside the candidates, not in them
            "candidatesTokenCount": reply.output_tokens - reply.reasoning_tokens,
            "thoughtsTokenCount": reply.reasoning_tokens,
            "totalTokenCount": reply.input_tokens + reply.output_tokens,
        }
    return document


def chunks(path: str, reply: Reply, prompt: Prompt, request: Mapping[str, Any]) -> Iterable[bytes]:
    """Return a streamed answer as server-sent events."""
    for piece in pieces(reply.text):
        yield _event(_document(reply, prompt, [{"text": piece}], False))
    parts = [{"functionCall": {"name": use.name, "args": use.arguments}} for use in reply.tools]
    yield _event(_document(reply, prompt, parts or [{"text": ""}], True))


def _event(document: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(document)}\r\n\r\n".encode()
