"""A span that costs its caller little: plain slots now, an SDK span on the export thread.

`LeanSpan` implements the whole of ``opentelemetry.trace.Span``. What the SDK does at each call (attribute checks,
bounded containers, a copy at the end) is done when the span is exported.
"""

from __future__ import annotations

import os
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from inferometer.tracer.guard import logger

if TYPE_CHECKING:
    from types import TracebackType

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSAMPLED = TraceFlags(TraceFlags.DEFAULT)
EMPTY_STATE = TraceState.get_default()

now_ns: Callable[[], int] = time.time_ns
_random = Random()
random_bits: Callable[[int], int] = _random.getrandbits

if hasattr(os, "register_at_fork"):
    # a forked child would otherwise draw the same ids as its parent; a generator of our own also keeps a program's
    # random.seed() from doing that
    os.register_at_fork(after_in_child=_random.seed)


class Limits:
    """How much one span may hold; the OTEL_* limits of the environment."""

    __slots__ = ("attribute_length", "attributes", "event_attributes", "events", "link_attributes", "links")

    def __init__(
        self,
        attributes: int = 128,
        events: int = 128,
        links: int = 128,
        event_attributes: int = 128,
        link_attributes: int = 128,
        attribute_length: int | None = None,
    ) -> None:
        self.attributes = attributes
        self.events = events
        self.links = links
        self.event_attributes = event_attributes
        self.link_attributes = link_attributes
        self.attribute_length = attribute_length

    @classmethod
    def from_environment(cls) -> Limits:
        """Read the limits as the SDK does."""
        from opentelemetry.sdk.trace import SpanLimits

        limits = SpanLimits()
        unlimited = 1 << 30

        def bound(value: int | None) -> int:
            return unlimited if value is None else value

        return cls(
            attributes=bound(limits.max_span_attributes),
            events=bound(limits.max_events),
            links=bound(limits.max_links),
            event_attributes=bound(limits.max_event_attributes),
            link_attributes=bound(limits.max_link_attributes),
            attribute_length=limits.max_span_attribute_length,
        )


DEFAULT_LIMITS = Limits()
Work = Callable[[dict[str, Any]], None]
"""What is left to compute about a span, on the export thread; it adds to the attributes it is given."""


class LeanSpan(Span):
    """One span; ``end`` hands it to `sink`, which owns it from then on."""

    __slots__ = (
        "_context",
        "attributes",
        "dropped_attributes",
        "dropped_events",
        "dropped_links",
        "end_ns",
        "events",
        "kind",
        "limits",
        "links",
        "name",
        "parent",
        "sampled",
        "sink",
        "span_id",
        "start_ns",
        "status_code",
        "status_text",
        "trace_id",
        "trace_state",
        "work",
    )

    def __init__(
        self,
        name: str,
        kind: SpanKind,
        trace_id: int,
        parent: LeanSpan | SpanContext | None,
        attributes: dict[str, Any],
        sink: Callable[[LeanSpan], None],
        limits: Limits,
        trace_state: TraceState = EMPTY_STATE,
        sampled: bool = True,
    ) -> None:
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.span_id: int = random_bits(64) or 1
        self.parent = parent
        self.attributes = attributes
        self.sink = sink
        self.limits = limits
        self.trace_state = trace_state
        self.sampled = sampled
        self.events: deque[tuple[str, int, Mapping[str, Any]]] | None = None
        self.links: list[Link] | None = None
        self.work: Work | None = None
        self.status_code = StatusCode.UNSET
        self.status_text: str | None = None
        self.dropped_attributes = 0
        self.dropped_events = 0
        self.dropped_links = 0
        self._context: SpanContext | None = None
        self.end_ns: int | None = None
        self.start_ns = now_ns()

    def get_span_context(self) -> SpanContext:
        """Return the span's identity, made when it is first asked for."""
        context = self._context
        if context is None:
            flags = SAMPLED if self.sampled else UNSAMPLED
            context = self._context = SpanContext(self.trace_id, self.span_id, False, flags, self.trace_state)
        return context

    def is_recording(self) -> bool:
        """Whether attributes set now are kept."""
        return self.end_ns is None and self.sampled

    def end(self, end_time: int | None = None) -> None:
        """End the span and hand it on; a second call changes nothing."""
        if self.end_ns is not None:
            logger.debug("end() on an ended span")
            return
        self.end_ns = now_ns() if end_time is None else end_time
        if self.sampled:
            self.sink(self)

    def set_attribute(self, key: str, value: Any) -> None:
        """Set one attribute; over the limit the oldest is dropped and counted."""
        if self.end_ns is not None:
            logger.warning("Setting attribute on ended span.")
            return
        attributes = self.attributes
        attributes[key] = tuple(value) if type(value) is list else value
        if len(attributes) > self.limits.attributes:
            self._drop_oldest_attributes()

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """Set many attributes."""
        if self.end_ns is not None:
            logger.warning("Setting attribute on ended span.")
            return
        for key, value in attributes.items():
            self.attributes[key] = tuple(value) if type(value) is list else value
        if len(self.attributes) > self.limits.attributes:
            self._drop_oldest_attributes()

    def _drop_oldest_attributes(self) -> None:
        attributes = self.attributes
        while len(attributes) > self.limits.attributes:
            attributes.pop(next(iter(attributes)), None)
            self.dropped_attributes += 1

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Add an event; over the limit the oldest is dropped and counted."""
        if self.end_ns is not None:
            logger.warning("Adding event on ended span.")
            return
        if self.events is None:
            self.events = deque(maxlen=self.limits.events)
        if len(self.events) == self.limits.events:
            self.dropped_events += 1
        self.events.append((name, now_ns() if timestamp is None else timestamp, dict(attributes or ())))

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Point at another span; an invalid one without state or attributes is ignored, as the API asks."""
        if self.end_ns is not None:
            logger.warning("Adding link on ended span.")
            return
        if not (context.is_valid or attributes or context.trace_state):
            return
        if self.links is None:
            self.links = []
        self.links.append(Link(context, dict(attributes or ())))
        if len(self.links) > self.limits.links:
            del self.links[0]
            self.dropped_links += 1

    def update_name(self, name: str) -> None:
        """Give the span another name."""
        if self.end_ns is not None:
            logger.warning("Updating name of ended span.")
            return
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set how the span ended; OK is final and UNSET changes nothing, as the API asks."""
        if self.end_ns is not None:
            logger.warning("Setting status on ended span.")
            return
        if isinstance(status, Status):
            code, description = status.status_code, status.description
        else:
            code = status
        if self.status_code is StatusCode.OK or code is StatusCode.UNSET:
            return
        self.status_code = code
        self.status_text = description if code is StatusCode.ERROR else None

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record an exception as an event, with message and stack as the API asks.

        Our own decorators and hooks record the type alone, because a message may quote content.
        """
        recorded: dict[str, Any] = {
            "exception.type": qualified_name(type(exception)),
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        recorded.update(attributes or ())
        self.add_event("exception", recorded, timestamp)

    def __enter__(self) -> LeanSpan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.is_recording():
            self.record_exception(error, escaped=True)
            self.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
        self.end()


def qualified_name(kind: type) -> str:
    """Return ``module.Name``, or ``Name`` for a builtin, as ``error.type`` and ``exception.type`` want it."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
