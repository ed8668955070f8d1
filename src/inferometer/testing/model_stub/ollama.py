"""Ollama's own interface: chat and generate as JSON lines, with its timings, and embeddings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.testing.model_stub.brain import Failure, Prompt, Reply, tokens_of
from inferometer.testing.model_stub.openai import pieces, text_of

STREAM_TYPE = "application/x-ndjson"
CREATED = "2023-11-14T22:13:20Z"


def matches(path: str) -> bool:
    """Whether a path belongs to Ollama's interface."""
    return path in ("/api/chat", "/api/generate", "/api/embed", "/api/embeddings", "/api/tags", "/api/show")


def prompt_of(path: str, body: Any) -> Prompt | None:
    """Return what a request asks; None where no text is to be generated."""
    if not isinstance(body, Mapping) or path not in ("/api/chat", "/api/generate"):
        return None
    turns = [(str(message.get("role")), text_of(message.get("content"))) for message in body.get("messages") or ()]
    if body.get("prompt"):
        turns.append(("user", str(body["prompt"])))
    tools = [
        (str(tool["function"]["name"]), tool["function"].get("parameters") or {}) for tool in body.get("tools") or ()
    ]
    return Prompt(str(body.get("model")), turns, tools, body.get("stream", True) is not False)


def other(path: str, body: Any) -> dict[str, Any]:
    """Return what is no reply of a model."""
    if path == "/api/tags":
        return {"models": [{"name": "stub-model", "model": "stub-model"}]}
    if path == "/api/show":
        return {"details": {"family": "stub"}, "model_info": {}, "capabilities": ["completion", "tools"]}
    texts = (body or {}).get("input") or (body or {}).get("prompt") or ""
    return {
        "model": (body or {}).get("model"),
        "embeddings": [[0.25, 0.5]],
        "embedding": [0.25, 0.5],
        "prompt_eval_count": tokens_of(json.dumps(texts)),
    }


def error(failure: Failure) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": failure.message}


def body(path: str, reply: Reply, prompt: Prompt) -> dict[str, Any]:
    """Return an answer in one piece."""
    return _line(path, reply, prompt, reply.text, True)


def _line(path: str, reply: Reply, prompt: Prompt, text: str, done: bool) -> dict[str, Any]:
    line: dict[str, Any] = {"model": prompt.model, "created_at": CREATED, "done": done}
    if path == "/api/generate":
        line["response"] = text
    else:
        line["message"] = {"role": "assistant", "content": text}
        if done and reply.tools:
            line["message"]["tool_calls"] = [
                {"function": {"name": use.name, "arguments": use.arguments}} for use in reply.tools
            ]
    if done:
        line.update(
            done_reason="stop",
            total_duration=90_000_000,
            load_duration=1_000_000,
            prompt_eval_count=reply.input_tokens,
            prompt_eval_duration=20_000_000,
            eval_count=reply.output_tokens,
            eval_duration=60_000_000,
        )
    return line


def chunks(path: str, reply: Reply, prompt: Prompt, request: Mapping[str, Any]) -> Iterable[bytes]:
    """Return a streamed answer as JSON lines."""
    for piece in pieces(reply.text):
        yield json.dumps(_line(path, reply, prompt, piece, False)).encode() + b"\n"
    yield json.dumps(_line(path, reply, prompt, "", True)).encode() + b"\n"
