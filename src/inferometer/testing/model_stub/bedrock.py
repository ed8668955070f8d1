"""Bedrock's interface: Converse, streamed as AWS event-stream frames or not."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from inferometer.testing.model_stub.brain import Failure, Prompt, Reply
from inferometer.testing.model_stub.openai import pieces

STREAM_TYPE = "application/vnd.amazon.eventstream"


def matches(path: str) -> bool:
    """Whether a path belongs to Bedrock's interface."""
    return path.startswith("/model/") and path.endswith(("/converse", "/converse-stream"))


def prompt_of(path: str, body: Any) -> Prompt | None:
    """Return what a request asks."""
    if not isinstance(body, Mapping):
        return None
    specs = [tool["toolSpec"] for tool in (body.get("toolConfig") or {}).get("tools") or () if "toolSpec" in tool]
    tools = [(str(spec["name"]), (spec.get("inputSchema") or {}).get("json") or {}) for spec in specs]
    return Prompt(unquote(path.split("/")[2]), list(_turns(body)), tools, path.endswith("-stream"))


def _turns(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for part in body.get("system") or ():
        yield "system", str(part.get("text", ""))
    for message in body.get("messages") or ():
        for block in message.get("content") or ():
            if "toolResult" in block:
                yield "tool", json.dumps(block["toolResult"].get("content"))
            elif "toolUse" in block:
                yield "assistant", json.dumps(block["toolUse"])
            else:
                yield str(message.get("role")), str(block.get("text", ""))


def other(path: str, body: Any) -> dict[str, Any]:
    """Return nothing; all of the interface is replies of a model."""
    return {}


def error(failure: Failure) -> dict[str, Any]:
    """Return the body of an error."""
    return {"message": failure.message}


def body(path: str, reply: Reply, prompt: Prompt) -> dict[str, Any]:
    """Return an answer in one piece."""
    blocks: list[dict[str, Any]] = [{"text": reply.text}] if reply.text or not reply.tools else []
    blocks += [{"toolUse": {"toolUseId": use.call_id, "name": use.name, "input": use.arguments}} for use in reply.tools]
    return {
        "output": {"message": {"role": "assistant", "content": blocks}},
        "stopReason": _stop(reply),
        "usage": _usage(reply),
        "metrics": {"latencyMs": 12},
    }


def _stop(reply: Reply) -> str:
    return "tool_use" if reply.tools else "end_turn"


def _usage(reply: Reply) -> dict[str, Any]:
    assert reply.input_tokens is not None
    assert reply.output_tokens is not None
    assert reply.cached_tokens is not None
    written = reply.cache_write_5m + reply.cache_write_1h
    fresh = reply.input_tokens - reply.cached_tokens - written
    return {
        "inputTokens": fresh,
        "outputTokens": reply.output_tokens,
        "totalTokens": reply.input_tokens + reply.output_tokens,
        "cacheReadInputTokens": reply.cached_tokens,
        "cacheWriteInputTokens": written,
    }


def chunks(path: str, reply: Reply, prompt: Prompt, request: Mapping[str, Any]) -> Iterable[bytes]:
    """Return a streamed answer as event-stream frames."""
    for kind, event in _events(reply):
        yield _frame(kind, json.dumps(event).encode())


def _events(reply: Reply) -> Iterator[tuple[str, dict[str, Any]]]:
    yield "messageStart", {"role": "assistant"}
    index = 0
    for piece in pieces(reply.text):
        yield "contentBlockDelta", {"contentBlockIndex": index, "delta": {"text": piece}}
    if reply.text:
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    for use in reply.tools:
        start = {"toolUse": {"toolUseId": use.call_id, "name": use.name}}
        yield "contentBlockStart", {"contentBlockIndex": index, "start": start}
        delta = {"toolUse": {"input": json.dumps(use.arguments)}}
        yield "contentBlockDelta", {"contentBlockIndex": index, "delta": delta}
        yield "contentBlockStop", {"contentBlockIndex": index}
        index += 1
    yield "messageStop", {"stopReason": _stop(reply)}
    yield "metadata", {"usage": _usage(reply), "metrics": {"latencyMs": 12}}


def _frame(kind: str, payload: bytes) -> bytes:
    """Return one message of the AWS event stream.

    ::

        4 total length | 4 length of headers | 4 CRC of both | headers | payload | 4 CRC of all before
        header: 1 length of name | name | 7 (text) | 2 length of value | value
    """
    headers = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in (
            (":event-type", kind),
            (":content-type", "application/json"),
            (":message-type", "event"),
        )
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))
