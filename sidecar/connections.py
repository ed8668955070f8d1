"""Limits on HTTP connections: how many, and how long one may stay silent before its request is complete."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
MAX_HEADER_BYTES = 64 * 1024


def limited_protocol(max_connections: int, header_timeout_s: float) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with limits.

    Args:
        max_connections: further ones are answered 503 and closed.
        header_timeout_s: seconds for the headers of a first request to be complete.
    """

    class LimitedProtocol(HttpToolsProtocol):
        _header_timer: asyncio.TimerHandle | None = None
        _header_bytes = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            if len(self.connections) >= max_connections:
                # uvicorn's own callbacks need a connection that was made
                super().connection_made(transport)
                transport.write(_FULL)
                transport.close()
                return
            super().connection_made(transport)
            self._arm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._header_timer is not None:
                self._header_bytes += len(data)
            super().data_received(data)
            if self._header_timer is not None and self._header_bytes > MAX_HEADER_BYTES:
                self._disarm()
                self.send_400_response("Headers are too large.")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            if self._header_timer is None:
                self._arm()

        def on_headers_complete(self) -> None:
            self._disarm()
            super().on_headers_complete()

        def _arm(self) -> None:
            self._header_bytes = 0
            self._header_timer = self.loop.call_later(header_timeout_s, self._expire)

        def _disarm(self) -> None:
            if self._header_timer is not None:
                self._header_timer.cancel()
                self._header_timer = None

        def _expire(self) -> None:
            self._header_timer = None
            if not self.transport.is_closing():
                self.transport.close()

    return LimitedProtocol


def open_connections(server_state: Any) -> int:
    """Return the number of open HTTP connections of a uvicorn server."""
    return len(server_state.connections)
