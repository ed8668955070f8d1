"""What operators ask: is it alive, is it ready, what has it counted."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from inferometer import __version__
from inferometer.sidecar.answer import JSON, encode_refusal
from inferometer.sidecar.counters import Counters
from inferometer.sidecar.http_receiver import not_found
from inferometer.sidecar.intake import Intake
from inferometer.sidecar.pages import STRANGE_HOST, Pages
from inferometer.sidecar.refusal import Refusal
from inferometer.sidecar.security import Guard

SERVICE_NAME = "inferometer-sidecar"
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


class Operations:
    """Answers ``/healthz``, ``/readyz`` and ``/metrics``; the live page's paths go to ``pages``.

    Health and readiness are open to all, since orchestrators send no tokens, and tell nothing but their answer.
    """

    def __init__(self, intake: Intake, counters: Counters, guard: Guard, pages: Pages) -> None:
        self._intake = intake
        self._counters = counters
        self._guard = guard
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        path, method = scope["path"], scope["method"]
        if self._pages.knows(path):
            await self._pages(scope, receive, send)
        elif path not in {"/healthz", "/readyz", "/metrics"}:
            refusal = not_found()
            await respond(send, 404, encode_refusal(refusal, JSON), b"application/json")
        elif method not in {"GET", "HEAD"}:
            await respond(send, 405, b"", b"text/plain", [(b"allow", b"GET, HEAD")])
        elif path == "/healthz":
            body = {"service": SERVICE_NAME, "status": "ok", "version": __version__}
            await respond(send, 200, json.dumps(body).encode(), b"application/json")
        elif path == "/readyz":
            status, body = self._readiness()
            await respond(send, status, json.dumps(body).encode(), b"application/json")
        elif not self._pages.is_our_host(Request(scope)):
            await respond(send, 421, STRANGE_HOST.encode(), b"text/plain")
        else:
            try:
                self._guard.check(dict(scope["headers"]).get(b"authorization"))
            except Refusal as refusal:
                await respond(send, 401, encode_refusal(refusal, JSON), b"application/json")
                return
            await respond(send, 200, self._counters.exposition().encode(), METRICS_TYPE)

    def _readiness(self) -> tuple[int, dict[str, str]]:
        refusal = (
            Refusal.unavailable("stopping", "stopping") if self._intake.is_closing else self._intake.check_bounds()
        )
        if refusal is not None:
            return 503, {"service": SERVICE_NAME, "status": "not ready", "reason": refusal.reason}
        return 200, {"service": SERVICE_NAME, "status": "ready"}


async def respond(
    send: Send, status: int, body: bytes, content_type: bytes, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    """Send a whole answer."""
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"x-content-type-options", b"nosniff"),
        *(extra or []),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
