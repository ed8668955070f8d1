"""httpx and httpx2: one HTTP attempt after the other behind a model call, and trace context on the way out."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatch
from typing import Any

from inferometer.integrations.base import Integration, Patches
from inferometer.tracer import recording
from inferometer.tracer import span as spans
from inferometer.tracer.calls import InferenceCall, current_call
from inferometer.tracer.guard import report

LIBRARIES = ("httpx", "httpx2")


class HttpIntegration(Integration):
    """Counts attempts of the call in flight; adds ``traceparent`` for the hosts of ``configure(propagate_to=...)``."""

    name = "http"
    module = "http.client"
    distribution = "httpx"

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch each library that the program has imported or will import; none at all is no mistake."""
        for library in LIBRARIES:
            patches.when_imported(library, _patch_library)
        return True


def _patch_library(library: Any, patches: Patches) -> None:
    patches.wrap(library.Client, "send", _hook_send)
    patches.wrap(library.AsyncClient, "send", _hook_async_send)


def integration() -> Integration:
    """Return the hook."""
    return HttpIntegration()


def _hook_send(original: Callable[..., Any]) -> Callable[..., Any]:
    def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, now = current_call.get(), recording.active
        if now is not None and now.propagate_to:
            _propagate(request, now.propagate_to)
        if call is None:
            return original(self, request, *args, **kwargs)
        start_ns = spans.now_ns()
        try:
            response = original(self, request, *args, **kwargs)
        except BaseException:
            _note(call, None, start_ns)
            raise
        _note(call, response, start_ns)
        return response

    return send


def _hook_async_send(original: Callable[..., Any]) -> Callable[..., Any]:
    async def send(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, now = current_call.get(), recording.active
        if now is not None and now.propagate_to:
            _propagate(request, now.propagate_to)
        if call is None:
            return await original(self, request, *args, **kwargs)
        start_ns = spans.now_ns()
        try:
            response = await original(self, request, *args, **kwargs)
        except BaseException:
            _note(call, None, start_ns)
            raise
        _note(call, response, start_ns)
        return response

    return send


def _note(call: InferenceCall, response: Any, start_ns: int) -> None:
    call.attempt(getattr(response, "status_code", None), start_ns, spans.now_ns())


def _propagate(request: Any, hosts: tuple[str, ...]) -> None:
    try:
        from inferometer.tracer.propagation import inject

        host = request.url.host
        if any(fnmatch(host, pattern) for pattern in hosts):
            headers: dict[str, str] = {}
            inject(headers)
            for name, value in headers.items():
                request.headers[name] = value
    except Exception as error:
        report("propagation", error)
