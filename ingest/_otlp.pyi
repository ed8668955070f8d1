"""OTLP trace requests in protobuf to spans, for requests that are as exporters write them."""

from collections.abc import Callable
from typing import Any, TypeVar

Made = TypeVar("Made")

def decode_spans(
    body: bytes,
    span_type: Callable[..., Made],
    event_type: Callable[..., Any],
    link_type: Callable[..., Any],
    make_resource: Callable[[dict[str, Any]], Any],
    kinds: tuple[str | None, ...],
    statuses: tuple[Any, ...],
    /,
) -> list[Made] | None:
    """Return the spans of an ``ExportTraceServiceRequest``; None where it is not as exporters write it.

    Args:
        body: the message.
        span_type: called with the fields of `ingest.raw.RawSpan` up to ``trace_state``, by position.
        event_type: called with name, time in nanoseconds and attributes.
        link_type: called with trace id, span id and attributes.
        make_resource: called with the attributes of a resource.
        kinds: by number.
        statuses: by number, the first for a span without one.
    """

def count_spans(body: bytes, /) -> int | None:
    """Return how many spans an ``ExportTraceServiceRequest`` holds; None where it is not as exporters write it.

    Where it answers, the message can be read whole, and every span has sound ids of its own, its trace and its parent.
    """
