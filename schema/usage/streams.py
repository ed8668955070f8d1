"""Streams as they come over HTTP: server-sent events, JSON lines, JSON arrays, Amazon's binary event stream."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any

_MAX_MESSAGE = 16 * 1024 * 1024


def events_of(body: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects of a streamed body of any of the four shapes; what is no object is left out."""
    if body[:2] == b"\0\0" and len(body) >= 16:
        yield from _amazon_events(body)
        return
    text = body.decode("utf-8", "replace")
    head = text.lstrip()[:1]
    if head == "[":
        yield from _objects(_load(text))
    elif head == "{":
        whole = _load(text)
        if whole is not None:
            yield from _objects(whole)
        else:
            for line in text.splitlines():
                yield from _objects(_load(line))
    else:
        yield from _sse_events(text)


def _sse_events(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the data of server-sent events (WHATWG HTML, 9.2): data lines of one event belong together."""
    data: list[str] = []
    for line in (*text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), ""):
        if line.startswith("data:"):
            data.append(line[5:].removeprefix(" "))
        elif not line and data:
            yield from _objects(_load("\n".join(data)))
            data = []


def _amazon_events(body: bytes) -> Iterator[Mapping[str, Any]]:
    """Yield the payloads of ``application/vnd.amazon.eventstream``.

    ::

        | total length 4 | headers length 4 | CRC 4 | headers | payload | CRC 4 |

    A Converse payload is one event under the name in its headers; an InvokeModel payload wraps bytes in base64.
    """
    place = 0
    while place + 16 <= len(body):
        total, headers = struct.unpack_from(">II", body, place)
        if not 16 <= total <= _MAX_MESSAGE or headers > total - 16:
            return
        name = _event_name(body[place + 12 : place + 12 + headers])
        payload = _load(body[place + 12 + headers : place + total - 4].decode("utf-8", "replace"))
        for event in _objects(payload):
            inner = event.get("bytes")
            if isinstance(inner, str):
                try:
                    yield from _objects(_load(base64.b64decode(inner).decode("utf-8", "replace")))
                except ValueError:  # no base64, or letters beyond ASCII
                    continue
            else:
                yield {name: event} if name in {"contentBlockDelta", "messageStop", "metadata"} else event
        place += total


def _event_name(headers: bytes) -> str:
    place = 0
    while place + 4 <= len(headers):
        size = headers[place]
        key = headers[place + 1 : place + 1 + size]
        kind = headers[place + 1 + size : place + 2 + size]
        if kind != b"\x07":
            return ""
        place += 2 + size
        (length,) = struct.unpack_from(">H", headers, place) if place + 2 <= len(headers) else (0,)
        value = headers[place + 2 : place + 2 + length]
        if key == b":event-type":
            return value.decode("ascii", "replace")
        place += 2 + length
    return ""


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, dict):
            yield each


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
