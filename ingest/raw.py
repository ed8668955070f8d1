"""The raw span: what any wire format or SDK span becomes before a dialect reads it.

Nothing here is interpreted yet. Times are integer nanoseconds since 1970, ids are bytes as in OTLP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inferometer.schema.records import Resource, SpanLink, Status

RESOURCE_PREFIXES = ("service.", "deployment.", "k8s.", "cloud.", "container.", "telemetry.sdk.")
"""Attributes of a resource that are kept; the rest (process arguments, host details) may name people or secrets."""

RESOURCE_KEYS = frozenset({"openinference.project.name", "langfuse.environment", "inferometer.purpose"})
"""Further attributes of a resource that are kept."""


MAX_VALUE = 256
"""Characters of a resource's attribute that are kept."""


@dataclass(slots=True)
class RawEvent:
    """One event on a span."""

    name: str
    time_ns: int | None = None
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class RawSpan:
    """One span as its emitter wrote it; the key is (trace_id, span_id).

    ``otel_kind`` is internal, server, client, producer or consumer; ``source`` names the file or channel it came by.
    """

    trace_id: bytes
    span_id: bytes
    name: str
    parent_id: bytes | None = None
    otel_kind: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    status: Status = Status.UNSET
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[RawEvent] = field(default_factory=list)
    links: list[SpanLink] = field(default_factory=list)
    resource: Resource | None = None
    scope: str | None = None
    scope_version: str | None = None
    trace_state: str | None = None
    source: str | None = None


def resource_of(attributes: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Resource:
    """Return the canonical resource: the attributes that are kept, as text, in order of their keys."""
    pairs = attributes.items() if isinstance(attributes, Mapping) else attributes
    kept = [(key, _text(value)) for key, value in pairs if key.startswith(RESOURCE_PREFIXES) or key in RESOURCE_KEYS]
    return Resource(tuple(sorted(kept)))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return text[:MAX_VALUE].replace("\0", "").encode("utf-8", "replace").decode()
