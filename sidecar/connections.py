"""Limits on HTTP connections: how many, and how long each may make no headway."""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
MAX_HEADER_BYTES = 64 * 1024
MAX_PIPELINED = 64

OWN_FILES = 128
"""Open files for everything but senders: store, journal, destinations, the normaliser."""


def make_room(wanted: int) -> int:
    """Let this process open as many files as connections may come; return how many each of two receivers may hold.

    Args:
        wanted: connections of one receiver; fewer are returned where the machine's hard limit is lower.
    """
    limit, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * wanted + OWN_FILES
    if limit != resource.RLIM_INFINITY and limit < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return wanted if limit == resource.RLIM_INFINITY else max(min(wanted, (limit - OWN_FILES) // 2), 1)


class _LimitedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol with limits.

    While the application works on a request it bounds the time itself; at all other times, and while nobody reads the
    answer, a deadline runs. Bytes alone do not put it off: what is left of a body that was answered early may come as
    slowly as its sender likes.
    """

    max_connections = 1024
    header_timeout_s = 30.0
    idle_timeout_s = 60.0
    _deadline: asyncio.TimerHandle | None = None
    _is_in_headers = True
    _header_bytes = 0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._unanswered: deque[RequestResponseCycle] = deque()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self.max_connections:
            # uvicorn's own callbacks need a connection that was made
            super().connection_made(transport)
            transport.write(_FULL)
            transport.close()
            return
        super().connection_made(transport)
        self._limit(self.header_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel()
        # uvicorn tells only the newest
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_in_headers:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._is_in_headers and self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("Headers are too large.")

    def on_message_begin(self) -> None:
        if len(self._unanswered) >= MAX_PIPELINED:
            # the parser turns it into 400 and an end
            raise OverflowError("too many requests before the first was answered")
        super().on_message_begin()
        self._is_in_headers, self._header_bytes = True, 0
        self._limit(self.header_timeout_s)

    def on_headers_complete(self) -> None:
        self._is_in_headers = False
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        self._limit(self.idle_timeout_s)

    def on_response_complete(self) -> None:
        self._unanswered.popleft()
        super().on_response_complete()
        self._limit(self.header_timeout_s if self._is_in_headers else self.idle_timeout_s)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._limit(self.idle_timeout_s)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._limit(self.idle_timeout_s)

    def send_400_response(self, msg: str) -> None:
        super().send_400_response(msg)
        self._limit(self.idle_timeout_s)

    def _limit(self, timeout_s: float) -> None:
        self._cancel()
        if not self._unanswered or self.flow.write_paused or self.transport.is_closing():
            self._deadline = self.loop.call_later(timeout_s, self._expire)

    def _cancel(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expire(self) -> None:
        # with `close` what is still to be written would be waited for
        self.transport.abort()


def limited_protocol(max_connections: int, header_timeout_s: float, idle_timeout_s: float) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with limits.

    Args:
        max_connections: further ones are answered 503 and closed.
        header_timeout_s: seconds for the headers of a request to be complete.
        idle_timeout_s: seconds for the next request to begin, and for a full buffer of an answer to be read.
    """
    limits = {
        "max_connections": max_connections,
        "header_timeout_s": header_timeout_s,
        "idle_timeout_s": idle_timeout_s,
    }
    return type("LimitedProtocol", (_LimitedProtocol,), limits)


def open_connections(server_state: Any) -> int:
    """Return the number of open HTTP connections of a uvicorn server."""
    return len(server_state.connections)
