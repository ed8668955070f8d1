"""The live page over HTTP: server-rendered, updating by server-sent events, for this machine or behind the token."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from inferometer.analyzer.run_tree import load_tree
from inferometer.reports import live, live_run
from inferometer.schema.errors import StoreError, UserError
from inferometer.sidecar.intake import Intake
from inferometer.sidecar.observer import Observer
from inferometer.sidecar.refusal import Refusal
from inferometer.sidecar.security import Guard
from inferometer.sidecar.settings import Settings

COOKIE = "inferometer_session"
STRANGE_HOST = "this sidecar answers to localhost alone"
MAX_SESSIONS = 256
MAX_READERS = 32
MAX_FORM_BYTES = 4096
MAX_SEARCH = 200
UPDATE_INTERVAL_S = 0.5
HEARTBEAT_S = 15.0
_ASSETS = {"/live.css": "text/css; charset=utf-8", "/live.js": "text/javascript; charset=utf-8"}
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:;"
        " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_CLOSE = {"connection": "close"}
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Pages:
    """Answers ``/``, ``/events``, ``/runs/ID``, ``/login`` and the two assets.

    Args:
        settings: of the sidecar.
        observer: keeps today's figures.
        intake: tells when the sidecar stops.
        guard: who may look where a token is set.
    """

    def __init__(self, settings: Settings, observer: Observer, intake: Intake, guard: Guard) -> None:
        self._settings = settings
        self._observer = observer
        self._intake = intake
        self._guard = guard
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._readers = 0

    def knows(self, path: str) -> bool:
        """Return whether a path is one of these pages."""
        return path in {"/", "/events", "/login"} or path in _ASSETS or path.startswith("/runs/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        response = await self._respond(Request(scope, receive))
        response.headers.update(_HEADERS)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        path = request.url.path
        if not self.is_our_host(request):
            return HTMLResponse(STRANGE_HOST, 421)
        if path in _ASSETS:
            return Response(live.live_asset(path[1:]), media_type=_ASSETS[path])
        if path == "/login":
            return await self._login(request)
        if request.method not in {"GET", "HEAD"}:
            return Response(status_code=405, headers={"allow": "GET, HEAD"})
        if not self._may_look(request):
            return RedirectResponse("/login", 303)
        try:
            if path == "/":
                return await self._live(request)
            if path == "/events":
                return self._events()
            return await self._run(path.removeprefix("/runs/"))
        except StoreError:
            return HTMLResponse(
                live.render_message_page("The store is away", "It cannot be read just now; requests are still taken."),
                503,
            )

    def is_our_host(self, request: Request) -> bool:
        """Return whether a request asks for this machine by its own name.

        On loopback, a page elsewhere whose name was pointed at this machine must not read what is here.
        """
        address = self._settings.http_address
        if address is None or not address.is_loopback:
            return True
        return (request.url.hostname or "").strip("[]") in _LOOPBACK_NAMES

    def _may_look(self, request: Request) -> bool:
        if not self._guard.is_set:
            return True
        if request.cookies.get(COOKIE, "") in self._sessions:
            return True
        authorization = request.headers.get("authorization")
        try:
            self._guard.check(authorization.encode() if authorization else None)
        except Refusal:
            return False
        return True

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return HTMLResponse(live.render_login_page(has_failed=False))
        body = b""
        try:
            async with asyncio.timeout(self._settings.read_timeout_s):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > MAX_FORM_BYTES:
                        return Response(status_code=413, headers=_CLOSE)
        except (TimeoutError, ClientDisconnect):
            return Response(status_code=408, headers=_CLOSE)
        token = parse_qs(body.decode("utf-8", "replace")).get("token", [""])[0]
        try:
            self._guard.check_token(token.encode())
        except Refusal:
            return HTMLResponse(live.render_login_page(has_failed=True), 401)
        session = secrets.token_urlsafe(32)
        self._sessions[session] = None
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        response = RedirectResponse("/", 303)
        is_secure = self._settings.tls_cert is not None
        response.set_cookie(COOKIE, session, httponly=True, samesite="strict", secure=is_secure)
        return response

    async def _live(self, request: Request) -> Response:
        search = request.query_params.get("q", "").strip()[:MAX_SEARCH]
        page = await asyncio.to_thread(self._page, search)
        return HTMLResponse(live.render_live_page(page))

    def _page(self, search: str = "") -> live.LivePage:
        if self._observer.today is None:
            self._observer.look()
        today = self._observer.today
        assert today is not None
        found = live.search_runs(self._observer.store, self._observer.prices, search) if search else None
        return live.build_live_page(today, self._observer.spending, found)

    async def _run(self, run_id: str) -> Response:
        try:
            tree = await asyncio.to_thread(load_tree, self._observer.store, self._observer.prices, run_id)
        except StoreError:
            raise
        except UserError as error:
            return HTMLResponse(live.render_message_page("No such run", str(error)), 404)
        return HTMLResponse(live_run.render_run_page(live_run.build_run_page(tree)))

    def _events(self) -> Response:
        if self._readers >= MAX_READERS:
            return Response(status_code=503, headers={"retry-after": "5"})
        return StreamingResponse(self._updates(), media_type="text/event-stream")

    async def _updates(self) -> AsyncIterator[bytes]:
        self._readers += 1
        try:
            version, silent_s = -1, 0.0
            while not self._intake.is_closing:
                if self._observer.version != version:
                    version, silent_s = self._observer.version, 0.0
                    html = live.render_live_body(await asyncio.to_thread(self._page))
                    yield b"event: update\ndata: " + json.dumps(html).encode() + b"\n\n"
                elif silent_s >= HEARTBEAT_S:
                    silent_s = 0.0
                    yield b": still here\n\n"
                await asyncio.sleep(UPDATE_INTERVAL_S)
                silent_s += UPDATE_INTERVAL_S
        finally:
            self._readers -= 1
