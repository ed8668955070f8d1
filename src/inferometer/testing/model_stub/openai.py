"""OpenAI's interface: chat completions, completions, responses, embeddings and the list of models."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

from inferometer.testing.model_stub.brain import Failure, Prompt, Reply, tokens_of

CREATED_S = 1_700_000_000
DIMENSIONS = 8
CHAT, COMPLETIONS, RESPONSES, EMBEDDINGS = "/chat/completions", "/completions", "/responses", "/embeddings"


def matches(path: str) -> bool:
    """Whether a path belongs to OpenAI's interface."""
    return path.endswith((COMPLETIONS, RESPONSES, EMBEDDINGS, "/models"))


def prompt_of(path: str, body: Any) -> Prompt | None:
    """Return what a request asks; None for embeddings and the list of models."""
    if not isinstance(body, Mapping) or path.endswith((EMBEDDINGS, "/models")):
        return None
    if path.endswith(RESPONSES):
        turns, tools = (
            list(_response_turns(body)),
            [
                (tool.get("name", ""), tool.get("parameters") or {})
                for tool in body.get("tools") or ()
                if tool.get("type") == "function"
            ],
        )
    else:
        turns = list(_chat_turns(body))
        tools = [
            (tool["function"]["name"], tool["function"].get("parameters") or {})
            for tool in body.get("tools") or ()
            if "function" in tool
        ]
    return Prompt(str(body.get("model")), turns, tools, bool(body.get("stream")))


def _chat_turns(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "prompt" in body:
        yield "user", text_of(body["prompt"])
    for message in body.get("messages") or ():
        text = text_of(message.get("content"))
        for call in message.get("tool_calls") or ():
            text += json.dumps(call.get("function"))
        yield str(message.get("role")), text


def _response_turns(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if body.get("instructions"):
        yield "system", str(body["instructions"])
    given = body.get("input")
    if isinstance(given, str):
        yield "user", given
        return
    for item in given or ():
        kind = item.get("type", "message")
        if kind == "function_call_output":
            yield "tool", text_of(item.get("output"))
        elif kind == "function_call":
            yield "assistant", f"{item.get('name')}{item.get('arguments')}"
        else:
            yield str(item.get("role", "user")), text_of(item.get("content"))


def text_of(content: Any) -> str:
    """Return the text of a message's content, whichever of its shapes it has."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(text_of(part) for part in content)
    if isinstance(content, Mapping):
        return text_of(content.get("text") or content.get("content"))
    return str(content)


def other(path: str, body: Any) -> dict[str, Any]:
    """Return what is no reply of a model: embeddings, the list of models."""
    if path.endswith(EMBEDDINGS) and isinstance(body, Mapping):
        texts = [body["input"]] if isinstance(body.get("input"), str) else list(body.get("input") or ())
        total = sum(tokens_of(str(text)) for text in texts)
        return {
            "object": "list",
            "model": body.get("model"),
            "data": [
                {"object": "embedding", "index": place, "embedding": _vector(str(text), body.get("encoding_format"))}
                for place, text in enumerate(texts)
            ],
            "usage": {"prompt_tokens": total, "total_tokens": total},
        }
    return {
        "object": "list",
        "data": [{"id": "stub-model", "object": "model", "created": CREATED_S, "owned_by": "stub"}],
    }


def _vector(text: str, encoding: Any) -> Any:
    digest = blake2b(text.encode(), digest_size=DIMENSIONS).digest()
    values = [byte / 255 for byte in digest]
    if encoding == "base64":
        return base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *values)).decode()
    return values


def error(failure: Failure) -> dict[str, Any]:
    """Return the body of an error."""
    kind = (
        "rate_limit_error"
        if failure.status == 429
        else "server_error"
        if failure.status >= 500
        else "invalid_request_error"
    )
    return {"error": {"message": failure.message, "type": kind, "param": None, "code": failure.code}}


def body(path: str, reply: Reply, prompt: Prompt) -> dict[str, Any]:
    """Return an answer in one piece."""
    if path.endswith(RESPONSES):
        return _response(reply, prompt, "completed")
    head = _head(path, reply, prompt, "")
    if path.endswith(CHAT):
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
        if reply.tools:
            message["tool_calls"] = [
                {
                    "id": use.call_id,
                    "type": "function",
                    "function": {"name": use.name, "arguments": json.dumps(use.arguments)},
                }
                for use in reply.tools
            ]
        head["choices"] = [{"index": 0, "message": message, "logprobs": None, "finish_reason": _finish(reply)}]
    else:
        head["choices"] = [{"index": 0, "text": reply.text, "logprobs": None, "finish_reason": _finish(reply)}]
    if not reply.without_usage:
        head["usage"] = _usage(reply)
    return head


def _head(path: str, reply: Reply, prompt: Prompt, suffix: str) -> dict[str, Any]:
    kind = "chat.completion" if path.endswith(CHAT) else "text_completion"
    head: dict[str, Any] = {
        "id": f"chatcmpl-{reply.response_id}",
        "object": kind + (suffix if path.endswith(CHAT) else ""),
        "created": CREATED_S,
        "model": prompt.model,
        "system_fingerprint": "fp_stub",
    }
    if reply.service_tier is not None:
        head["service_tier"] = reply.service_tier
    return head


def _finish(reply: Reply) -> str:
    return "tool_calls" if reply.tools else "stop"


def _usage(reply: Reply) -> dict[str, Any]:
    assert reply.input_tokens is not None
    assert reply.output_tokens is not None
    return {
        "prompt_tokens": reply.input_tokens,
        "completion_tokens": reply.output_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens, "audio_tokens": 0},
    }


def chunks(path: str, reply: Reply, prompt: Prompt, request: Mapping[str, Any]) -> Iterable[bytes]:
    """Return a streamed answer as server-sent events."""
    if path.endswith(RESPONSES):
        for number, (kind, event) in enumerate(_response_events(reply, prompt)):
            payload = json.dumps({"type": kind, "sequence_number": number, **event})
            yield f"event: {kind}\ndata: {payload}\n\n".encode()
        return
    asked = reply.usage_unasked or (request.get("stream_options") or {}).get("include_usage")
    wanted = asked and not reply.without_usage
    for choices in _chat_deltas(path, reply):
        chunk = _head(path, reply, prompt, ".chunk")
        chunk["choices"] = choices
        if wanted:
            chunk["usage"] = None
        yield f"data: {json.dumps(chunk)}\n\n".encode()
    if wanted:
        chunk = _head(path, reply, prompt, ".chunk")
        chunk["choices"] = []
        chunk["usage"] = _usage(reply)
        yield f"data: {json.dumps(chunk)}\n\n".encode()
    yield b"data: [DONE]\n\n"


def pieces(text: str) -> list[str]:
    """Return a text cut into words with the space before them, as models stream it."""
    words = text.split(" ")
    return [word if place == 0 else " " + word for place, word in enumerate(words)] if text else []


def _chat_deltas(path: str, reply: Reply) -> Iterator[list[dict[str, Any]]]:
    if not path.endswith(CHAT):
        for piece in pieces(reply.text):
            yield [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]
        yield [{"index": 0, "text": "", "logprobs": None, "finish_reason": _finish(reply)}]
        return
    yield [{"index": 0, "delta": {"role": "assistant", "content": "" if reply.text else None}, "finish_reason": None}]
    for piece in pieces(reply.text):
        yield [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]
    for place, use in enumerate(reply.tools):
        arguments = json.dumps(use.arguments)
        middle = len(arguments) // 2
        for part, head in ((arguments[:middle], True), (arguments[middle:], False)):
            call: dict[str, Any] = {"index": place, "function": {"arguments": part}}
            if head:
                call.update(id=use.call_id, type="function")
                call["function"]["name"] = use.name
            yield [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]
    yield [{"index": 0, "delta": {}, "finish_reason": _finish(reply)}]


def _response(reply: Reply, prompt: Prompt, status: str) -> dict[str, Any]:
    done = status == "completed"
    document: dict[str, Any] = {
        "id": f"resp_{reply.response_id}",
        "object": "response",
        "created_at": CREATED_S,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": prompt.model,
        "output": _output_items(reply) if done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": None,
    }
    if reply.service_tier is not None:
        document["service_tier"] = reply.service_tier
    if done and not reply.without_usage:
        assert reply.input_tokens is not None
        assert reply.output_tokens is not None
        document["usage"] = {
            "input_tokens": reply.input_tokens,
            "input_tokens_details": {"cached_tokens": reply.cached_tokens},
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
            "total_tokens": reply.input_tokens + reply.output_tokens,
        }
    return document


def _output_items(reply: Reply) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {
            "type": "function_call",
            "id": f"fc_{use.call_id}",
            "call_id": use.call_id,
            "name": use.name,
            "arguments": json.dumps(use.arguments),
            "status": "completed",
        }
        for use in reply.tools
    ]
    if reply.text or not items:
        items.append(_message_item(reply, reply.text))
    return items


def _message_item(reply: Reply, text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": f"msg_{reply.response_id}",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def _response_events(reply: Reply, prompt: Prompt) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "response.created", {"response": _response(reply, prompt, "in_progress")}
    yield "response.in_progress", {"response": _response(reply, prompt, "in_progress")}
    for place, item in enumerate(_output_items(reply)):
        where = {"output_index": place, "item_id": item["id"]}
        if item["type"] == "function_call":
            yield (
                "response.output_item.added",
                {"output_index": place, "item": {**item, "arguments": "", "status": "in_progress"}},
            )
            yield "response.function_call_arguments.delta", {**where, "delta": item["arguments"]}
            yield (
                "response.function_call_arguments.done",
                {**where, "arguments": item["arguments"], "name": item["name"]},
            )
        else:
            empty = {"type": "output_text", "text": "", "annotations": []}
            yield (
                "response.output_item.added",
                {"output_index": place, "item": {**item, "content": [], "status": "in_progress"}},
            )
            yield "response.content_part.added", {**where, "content_index": 0, "part": empty}
            for piece in pieces(reply.text):
                yield "response.output_text.delta", {**where, "content_index": 0, "delta": piece, "logprobs": []}
            yield "response.output_text.done", {**where, "content_index": 0, "text": reply.text, "logprobs": []}
            yield "response.content_part.done", {**where, "content_index": 0, "part": item["content"][0]}
        yield "response.output_item.done", {"output_index": place, "item": item}
    yield "response.completed", {"response": _response(reply, prompt, "completed")}
