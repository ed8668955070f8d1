"""Spans in memory, with a clock and ids that are the same at every run: for the tests of programs that are traced."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from inferometer.exporters.setup import configure, flush, shutdown
from inferometer.tracer import span as spans

BEGIN_NS = 1_700_000_000_000_000_000


class Recorded:
    """What was recorded so far."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def spans(self) -> list[ReadableSpan]:
        """All spans that have ended, in the order in which they did."""
        flush()
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> ReadableSpan:
        """Return the one span of a name.

        Raises:
            AssertionError: there is none, or more than one.
        """
        found = [span for span in self.spans if span.name == name]
        assert len(found) == 1, f"{len(found)} spans named {name!r} among {[span.name for span in self.spans]}"
        return found[0]

    def tree(self) -> list[tuple[str, str | None]]:
        """Return (name, name of its parent) of each span, in the order in which they began; None for a root."""
        ordered = sorted(self.spans, key=lambda span: span.start_time or 0)
        names = {span.context.span_id: span.name for span in ordered if span.context is not None}
        return [(span.name, names.get(span.parent.span_id) if span.parent else None) for span in ordered]

    def clear(self) -> None:
        """Forget what was recorded."""
        flush()
        self._exporter.clear()


@contextmanager
def record(**options: Any) -> Iterator[Recorded]:
    """Record into memory for a block; `options` are those of ``inferometer.configure``."""
    exporter = InMemorySpanExporter()
    configure(exporter=exporter, **options)
    try:
        yield Recorded(exporter)
    finally:
        shutdown()


@contextmanager
def deterministic(seed: int = 1, step_ns: int = 1_000_000) -> Iterator[None]:
    """Make ids and times of our own spans the same at every run: each look at the clock is `step_ns` later."""
    now_ns = BEGIN_NS

    def tick() -> int:
        nonlocal now_ns
        now_ns += step_ns
        return now_ns

    clock, bits = spans.now_ns, spans.random_bits
    spans.now_ns, spans.random_bits = tick, Random(seed).getrandbits
    try:
        yield
    finally:
        spans.now_ns, spans.random_bits = clock, bits
