"""OTLP/HTTP as a raw ASGI application, and the connection limits that uvicorn leaves to its protocol class.

Source: opentelemetry-proto docs/specification.md, section OTLP/HTTP, at ac2c4b5 (2026-08-18).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, MutableMapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from inferometer.sidecar.answer import JSON, PROTOBUF, encode_acceptance, encode_refusal
from inferometer.sidecar.compression import ENCODINGS, IDENTITY
from inferometer.sidecar.intake import Intake
from inferometer.sidecar.refusal import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    INVALID_ARGUMENT,
    NOT_FOUND,
    RETRY_AFTER_S,
    UNIMPLEMENTED,
    Refusal,
)
from inferometer.sidecar.security import Guard

SIGNAL_OF_PATH = {"/v1/traces": "traces", "/v1/logs": "logs", "/v1/metrics": "metrics"}
CONTENT_TYPES = {"application/x-protobuf": PROTOBUF, "application/json": JSON}
_TYPE_OF = {encoding: content_type.encode() for content_type, encoding in CONTENT_TYPES.items()}
_DISCARD_FACTOR = 4
_FIRST_ROOM_BYTES = 64 * 1024

log = logging.getLogger("inferometer.sidecar")


class SenderLeft(Exception):  # noqa: N818 - nobody is left to be told
    """The sender closed the connection before its request was complete."""


class HttpReceiver:
    """Answers ``POST /v1/{traces,logs,metrics}``; every other path goes to ``pages``.

    Args:
        intake: where requests go.
        guard: who may send.
        pages: the application behind all other paths.
        cors_origins: origins that browsers may send from; none by default.
    """

    def __init__(self, intake: Intake, guard: Guard, pages: ASGIApp, cors_origins: tuple[str, ...] = ()) -> None:
        self._intake = intake
        self._guard = guard
        self._pages = pages
        self._cors_origins = frozenset(origin.encode() for origin in cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        signal = SIGNAL_OF_PATH.get(scope["path"])
        if signal is None:
            await self._pages(scope, receive, send)
            return
        headers = dict(scope["headers"])
        encoding = CONTENT_TYPES.get(_media_type(headers), PROTOBUF)
        try:
            status, body, extra = await self._take(signal, scope["method"], headers, receive)
        except SenderLeft:
            return
        except Refusal as refusal:
            status, body, extra = self._refuse(refusal, encoding)
        except Exception:
            log.exception("request failed", extra={"signal": signal})
            # 503 and not 500: the fault is ours, so that the sender keeps the batch and tries again
            failure = Refusal(503, INTERNAL, "internal", "the sidecar failed; its log says why", RETRY_AFTER_S)
            status, body, extra = self._refuse(failure, encoding)
        extra += self._cors_headers(headers)
        await _answer(send, status, body, _TYPE_OF[encoding], extra, with_body=scope["method"] != "HEAD")

    def _refuse(self, refusal: Refusal, encoding: str) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        self._intake.counters.add("refused_requests_total", reason=refusal.reason, transport="http")
        extra = []
        if refusal.retry_after_s is not None:
            extra.append((b"retry-after", str(refusal.retry_after_s).encode()))
        if refusal.http_status == 405:
            extra.append((b"allow", b"POST"))
        if refusal.http_status == 401:
            extra.append((b"www-authenticate", b'Bearer realm="inferometer"'))
        return refusal.http_status, encode_refusal(refusal, encoding), extra

    async def _take(
        self, signal: str, method: str, headers: dict[bytes, bytes], receive: Receive
    ) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        if method == "OPTIONS" and headers.get(b"origin") in self._cors_origins:
            return 204, b"", []
        if method != "POST":
            raise Refusal(405, UNIMPLEMENTED, "method", f"{method} is not POST")
        self._guard.check(headers.get(b"authorization"))
        encoding = CONTENT_TYPES.get(_media_type(headers))
        if encoding is None:
            raise Refusal.unsupported(f"content type is not one of {', '.join(CONTENT_TYPES)}")
        compression = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower() or IDENTITY
        if compression not in ENCODINGS:
            raise Refusal.unsupported(f"content encoding is not one of {', '.join(ENCODINGS)}")
        limit = self._intake.settings.max_request_bytes
        declared = _content_length(headers)
        if declared is not None and declared > limit:
            await self._discard(receive, declared)
            raise Refusal.too_large(limit)
        with ExitStack() as reserved:
            body = await self._read(receive, limit, declared, reserved)
            acceptance = await self._intake.accept(signal, encoding, compression, body)
        return 200, encode_acceptance(signal, acceptance, encoding), []

    async def _read(self, receive: Receive, limit: int, declared: int | None, reserved: ExitStack) -> bytes:
        room = declared if declared is not None else _FIRST_ROOM_BYTES
        reserved.enter_context(self._intake.admit(room))
        pieces: list[bytes] = []
        total = 0
        more = True
        async with self._deadline():
            while more and total <= limit:
                message = await _next(receive)
                pieces.append(message.get("body", b""))
                total += len(pieces[-1])
                if room < total <= limit:
                    # of a body that did not say its size, as much again as has come
                    reserved.enter_context(self._intake.admit(total, room))
                    room += total
                more = message.get("more_body", False)
        if total > limit:
            if more:
                await self._discard(receive, total)
            raise Refusal.too_large(limit)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def _discard(self, receive: Receive, declared: int) -> None:
        # a sender that is cut off while it sends sees a broken connection, not our answer, and tries again
        budget = _DISCARD_FACTOR * self._intake.settings.max_request_bytes
        if declared > budget:
            return
        async with self._deadline():
            while budget > 0:
                message = await _next(receive)
                budget -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._intake.settings.read_timeout_s):
                yield
        except TimeoutError:
            raise Refusal(408, DEADLINE_EXCEEDED, "slow", "the request did not come in time") from None

    def _cors_headers(self, headers: dict[bytes, bytes]) -> list[tuple[bytes, bytes]]:
        origin = headers.get(b"origin")
        if origin is None or origin not in self._cors_origins:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-methods", b"POST"),
            (b"access-control-allow-headers", b"content-type, content-encoding, authorization"),
            (b"access-control-max-age", b"7200"),
            (b"vary", b"origin"),
        ]


async def _next(receive: Receive) -> MutableMapping[str, Any]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise SenderLeft
    return message


def _media_type(headers: dict[bytes, bytes]) -> str:
    return headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()


def _content_length(headers: dict[bytes, bytes]) -> int | None:
    text = headers.get(b"content-length")
    if text is None:
        return None
    if not text.isdigit():
        raise Refusal(400, INVALID_ARGUMENT, "malformed", "content-length is not a number")
    return int(text)


async def _answer(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes,
    extra: list[tuple[bytes, bytes]],
    *,
    with_body: bool = True,
) -> None:
    # RFC 9110 section 8.6: 204 says nothing about a body
    said = [] if status == 204 else [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    headers = [*said, *extra]
    if status in {408, 413}:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body if with_body else b""})


def not_found() -> Refusal:
    """Return the refusal of a path that is none of ours."""
    return Refusal(404, NOT_FOUND, "not_found", "no such path; OTLP goes to /v1/traces, /v1/logs and /v1/metrics")
