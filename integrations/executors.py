"""Trace context into threads and processes that a program starts: executors, threads, multiprocessing.

asyncio tasks inherit it by themselves. A process gets it as W3C trace context around the function that it runs.
"""

from __future__ import annotations

import concurrent.futures
import contextvars
import functools
import threading
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context

from inferometer.integrations.base import Integration, Patches
from inferometer.tracer import recording
from inferometer.tracer.activity import detach
from inferometer.tracer.propagation import extract, inject


class ExecutorsIntegration(Integration):
    """Carries the current span into ``ThreadPoolExecutor``, ``ProcessPoolExecutor`` and ``Thread``."""

    name = "executors"
    module = "concurrent.futures"
    distribution = "python"

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the standard library."""
        patches.wrap(concurrent.futures.ThreadPoolExecutor, "submit", _hook_thread_submit)
        patches.wrap(threading.Thread, "start", _hook_thread_start)
        patches.when_imported("concurrent.futures.process", _patch_processes)
        patches.when_imported("multiprocessing.pool", _patch_pool)
        return True


def integration() -> Integration:
    """Return the hook."""
    return ExecutorsIntegration()


def _patch_processes(module: Any, patches: Patches) -> None:
    patches.wrap(module.ProcessPoolExecutor, "submit", _hook_process_submit)


def _patch_pool(module: Any, patches: Patches) -> None:
    patches.wrap(module.Pool, "apply_async", _hook_apply_async)


def _is_traced() -> bool:
    return recording.active is not None and bool(otel_context.get_current())


def _hook_thread_submit(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not _is_traced():
            return original(self, function, *args, **kwargs)
        return original(self, contextvars.copy_context().run, function, *args, **kwargs)

    return submit


def _hook_thread_start(original: Callable[..., Any]) -> Callable[..., Any]:
    def start(self: threading.Thread) -> None:
        if _is_traced() and not self.name.startswith("inferometer"):
            run = self.run
            context = otel_context.get_current()

            @functools.wraps(run)
            def run_in_context() -> None:
                token = otel_context.attach(context)
                try:
                    run()
                finally:
                    detach(token)

            self.run = run_in_context  # type: ignore[method-assign]
        original(self)

    return start


def _hook_process_submit(original: Callable[..., Any]) -> Callable[..., Any]:
    def submit(self: Any, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if not _is_traced():
            return original(self, function, *args, **kwargs)
        return original(self, run_under, _carrier(), function, *args, **kwargs)

    return submit


def _hook_apply_async(original: Callable[..., Any]) -> Callable[..., Any]:
    def apply_async(
        self: Any, func: Callable[..., Any], args: Any = (), kwds: Any = None, *rest: Any, **named: Any
    ) -> Any:
        if not _is_traced():
            return original(self, func, args, kwds or {}, *rest, **named)
        return original(self, run_under, (_carrier(), func, *args), kwds or {}, *rest, **named)

    return apply_async


def _carrier() -> dict[str, str]:
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


def run_under(carrier: dict[str, str], function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Run a function under the trace that a carrier names; what a process pool is given in place of the function."""
    token = otel_context.attach(extract(carrier))
    try:
        return function(*args, **kwargs)
    finally:
        detach(token)
