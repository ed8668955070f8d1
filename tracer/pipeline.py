"""From ended spans to an exporter, on one thread of ours: bounded, fork-safe, and silent towards the host."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from inferometer.tracer.conversion import readable
from inferometer.tracer.guard import report
from inferometer.tracer.metrics import Observe
from inferometer.tracer.span import LeanSpan

QUEUE_SPANS = 65_536
BATCH_SPANS = 512
INTERVAL_S = 1.0
EXIT_TIMEOUT_S = 10.0
"""Longest that a process waits at its end for what has not been exported."""
THREAD_NAME = "inferometer-export"
GATHERING_S = 0.02
"""How long spans are gathered where the process is in a hurry."""

Finished = LeanSpan | ReadableSpan
_SUPPRESS = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")


class Pipeline:
    """A bounded queue and the thread that empties it into an exporter.

    Args:
        make_exporter: called on the export thread before the first batch, and again in a forked child.
        resource: who emits.
        scope: our name and version.
        queue_spans: ended spans kept while the exporter is slow; over it the oldest are dropped and counted.
        batch_spans: most spans handed over at once.
        interval_s: longest wait of a span, in seconds.
        observe: told attributes, identity and duration (ns) of each lean span, on the export thread, for metrics.
        on_loss: called when a batch did not reach its destination.
    """

    is_hurried = False
    """Whether whoever started this process may end it at any moment: then no span waits for the interval."""

    def __init__(
        self,
        make_exporter: Callable[[], SpanExporter],
        resource: Resource,
        scope: InstrumentationScope,
        *,
        queue_spans: int = QUEUE_SPANS,
        batch_spans: int = BATCH_SPANS,
        interval_s: float = INTERVAL_S,
        observe: Observe | None = None,
        on_loss: Callable[[], None] | None = None,
    ) -> None:
        self.resource = resource
        self.scope = scope
        self.exported = 0
        self.dropped = 0
        self.failed = 0
        self._make_exporter = make_exporter
        self._observe = observe
        self._on_loss = on_loss
        self._queue_spans = queue_spans
        self._batch_spans = batch_spans
        self._interval_s = interval_s
        self._exporter: SpanExporter | None = None
        self._closed = False
        self._reset()
        _pipelines.add(self)

    def _reset(self) -> None:
        self._queue: deque[Finished] = deque()
        # reentrant, for a signal handler may flush while the program does
        self._lock = threading.RLock()
        self._export_lock = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._in_hand = 0

    def put(self, span: Finished) -> None:
        """Take over an ended span; never blocks, never raises."""
        queue = self._queue
        if len(queue) >= self._queue_spans:
            self._drop_oldest()
        queue.append(span)
        if self._thread is None:
            self._start()
        if len(queue) == self._batch_spans or self.is_hurried:
            self._wake.set()

    def _drop_oldest(self) -> None:
        try:
            self._queue.popleft()
        except IndexError:
            return
        with self._lock:
            self.dropped += 1
        if self.dropped & (self.dropped - 1) == 0:
            report("export queue", "full: the oldest spans are dropped and counted")

    def begin(self) -> None:
        """Start the export thread, or have it look again at how it is to work."""
        self._start()
        self._wake.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is not None or self._closed:
                return
            thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # the interpreter is shutting down: what is queued goes out in close()
                report("export thread", error)
                return
            self._thread = thread

    def _run(self) -> None:
        while not self._closed:
            if self.is_hurried and self._exporter is None:
                self._prepare()
            self._wake.wait(self._interval_s)
            self._wake.clear()
            if self.is_hurried and not self._closed:
                time.sleep(GATHERING_S)
            self._drain()

    def _prepare(self) -> None:
        """Load what the first batch would wait for."""
        token = otel_context.attach(otel_context.set_value(_SUPPRESS, True))
        try:
            with self._export_lock:
                self._exporter = self._exporter or self._make_exporter()
                getattr(self._exporter, "prepare", bool)()
        except Exception as error:
            report("exporter", error)
        finally:
            otel_context.detach(token)

    def _drain(self) -> None:
        with self._export_lock:
            queue = self._queue
            while queue:
                batch: list[Finished] = []
                while queue and len(batch) < self._batch_spans:
                    try:
                        batch.append(queue.popleft())
                    except IndexError:
                        break
                self._in_hand = len(batch)
                try:
                    self._export(batch)
                except Exception as error:
                    self._lose(batch, error)
                finally:
                    self._in_hand = 0

    def _export(self, batch: list[Finished]) -> None:
        token = otel_context.attach(otel_context.set_value(_SUPPRESS, True))
        try:
            for span in batch:
                if isinstance(span, LeanSpan):
                    self._complete(span)
            exporter = self._exporter
            if exporter is None:
                exporter = self._exporter = self._make_exporter()
            export_lean = getattr(exporter, "export_lean", None)
            if export_lean is not None and all(isinstance(span, LeanSpan) for span in batch):
                result = export_lean(batch, self.resource, self.scope)
            else:
                result = exporter.export(
                    [
                        readable(span, self.resource, self.scope) if isinstance(span, LeanSpan) else span
                        for span in batch
                    ]
                )
        finally:
            otel_context.detach(token)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(batch)
        else:
            self._lose(batch, "the exporter refused a batch")

    def _lose(self, batch: list[Finished], error: BaseException | str) -> None:
        self.failed += len(batch)
        report("export", error)
        if self._on_loss is not None:
            self._on_loss()

    def _complete(self, span: LeanSpan) -> None:
        work, span.work = span.work, None
        if work is not None:
            try:
                work(span.attributes)
            except Exception as error:
                report("span completion", error)
        if self._observe is not None:
            try:
                self._observe(span.attributes, span.get_span_context(), (span.end_ns or 0) - span.start_ns)
            except Exception as error:
                report("metrics", error)

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Export what has ended until now.

        Args:
            timeout_s: longest wait in seconds.

        Returns:
            Whether all of it reached the exporter in time.
        """
        deadline = time.monotonic() + timeout_s
        if self._thread is None or not self._thread.is_alive():
            self._drain()
        else:
            while self._queue or self._in_hand:
                if time.monotonic() > deadline:
                    return False
                self._wake.set()
                time.sleep(0.001)
        if self._exporter is None:
            return True
        try:
            left_ms = max(1, int((deadline - time.monotonic()) * 1000))
            return self._exporter.force_flush(left_ms) is not False
        except Exception as error:
            report("export flush", error)
            return False

    def close(self, timeout_s: float = 30.0) -> bool:
        """Flush, stop the thread and shut the exporter down; a second call does nothing."""
        if self._closed:
            return True
        flushed = self.flush(timeout_s)
        self._closed = True
        _pipelines.discard(self)
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(min(timeout_s, 5.0))
        if flushed and self._queue:
            self._drain()
        if self._exporter is not None:
            try:
                self._exporter.shutdown()
            except Exception as error:
                report("export shutdown", error)
        return flushed

    def statistics(self) -> dict[str, int]:
        """Return counts of spans: exported, dropped (queue full), failed (exporter), waiting."""
        return {
            "exported": self.exported,
            "dropped": self.dropped,
            "failed": self.failed,
            "waiting": len(self._queue) + self._in_hand,
        }

    def after_fork(self) -> None:
        """Forget, in a forked child, what belongs to the parent: its queue, thread, locks and connections."""
        self._reset()
        self._exporter = None
        self.exported = self.dropped = self.failed = 0
        _finish_with_worker_process(self)


def hurry() -> None:
    """Have every pipeline of this process export a span as soon as it has ended, and be ready for it."""
    Pipeline.is_hurried = True
    for pipeline in list(_pipelines):
        pipeline.begin()


def take_time() -> None:
    """Undo `hurry`."""
    Pipeline.is_hurried = False


class PipelineProcessor(SpanProcessor):
    """Feeds the spans of a user's own provider into a pipeline."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline: Pipeline | None = pipeline

    def stop(self) -> None:
        """Take no more spans; a provider has no way to give a processor back."""
        self._pipeline = None

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Do nothing; spans are taken when they end."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue an ended span that was sampled."""
        context, pipeline = span.context, self._pipeline
        if pipeline is not None and context is not None and context.trace_flags.sampled:
            pipeline.put(span)

    def shutdown(self) -> None:
        """Flush; the pipeline itself is closed by ``inferometer.shutdown``."""
        if self._pipeline is not None:
            self._pipeline.flush(5.0)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has ended until now."""
        return self._pipeline is None or self._pipeline.flush(timeout_millis / 1000)


_pipelines: weakref.WeakSet[Pipeline] = weakref.WeakSet()


def _after_fork() -> None:
    for pipeline in list(_pipelines):
        pipeline.after_fork()


def _finish_with_worker_process(pipeline: Pipeline) -> None:
    """Flush at the end of a multiprocessing child, which leaves through ``os._exit`` and runs no atexit handler."""
    import sys

    util = sys.modules.get("multiprocessing.util")
    if util is None:
        return

    def arrange(alive: Pipeline) -> None:
        util.Finalize(alive, alive.flush, args=(EXIT_TIMEOUT_S,), exitpriority=10)

    util.register_after_fork(pipeline, arrange)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
