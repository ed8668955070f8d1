"""From lean spans to the SDK's `ReadableSpan`, on the export thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status

from inferometer.tracer.span import LeanSpan

_SCALARS = (str, bool, int, float)
_SCALAR_SET = frozenset(_SCALARS)


def readable(span: LeanSpan, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    """Return the SDK's view of an ended span."""
    parent = span.parent
    return _Readable(
        span,
        name=span.name,
        context=span.get_span_context(),
        parent=parent.get_span_context() if isinstance(parent, LeanSpan) else parent,
        resource=resource,
        attributes=clean_attributes(span.attributes, span.limits.attribute_length),
        events=_events(span),
        links=_links(span),
        kind=span.kind,
        status=Status(span.status_code, span.status_text),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=scope,
    )


class _Readable(ReadableSpan):
    """A `ReadableSpan` that says what the lean span's limits dropped."""

    def __init__(self, span: LeanSpan, **fields: Any) -> None:
        super().__init__(**fields)
        self._dropped = (span.dropped_attributes, span.dropped_events, span.dropped_links)

    @property
    def dropped_attributes(self) -> int:
        return self._dropped[0]

    @property
    def dropped_events(self) -> int:
        return self._dropped[1]

    @property
    def dropped_links(self) -> int:
        return self._dropped[2]


def clean_attributes(attributes: Mapping[str, Any], length: int | None = None) -> dict[str, Any]:
    """Return attributes that OTLP can carry: scalars and flat sequences; what else there is becomes JSON or text.

    None values are left out, strings are cut at `length` characters.
    """
    cleaned = {}
    for key, value in attributes.items():
        if type(value) not in _SCALAR_SET:
            if value is None:
                continue
            value = clean_value(value)
        if length is not None:
            value = _cut(value, length)
        cleaned[key if type(key) is str else str(key)] = value
    return cleaned


def clean_value(value: Any) -> Any:
    """Return one attribute value that OTLP can carry."""
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple, set, frozenset)):
        items = tuple(value)
        kinds = {type(item) for item in items}
        if len(kinds) <= 1 and kinds <= _SCALAR_SET:
            return items
        if kinds == {int, float}:
            return tuple(float(item) for item in items)
    try:
        return json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return type(value).__name__


def _cut(value: Any, length: int) -> Any:
    if isinstance(value, str):
        return value[:length]
    if isinstance(value, tuple):
        return tuple(item[:length] if isinstance(item, str) else item for item in value)
    return value


def _events(span: LeanSpan) -> list[Event]:
    limit, length = span.limits.event_attributes, span.limits.attribute_length
    return [
        Event(name, clean_attributes(dict(list(attributes.items())[:limit]), length), timestamp)
        for name, timestamp, attributes in span.events or ()
    ]


def _links(span: LeanSpan) -> list[Link]:
    limit = span.limits.link_attributes
    return [Link(link.context, dict(list((link.attributes or {}).items())[:limit])) for link in span.links or ()]


def parent_context(span: LeanSpan) -> SpanContext | None:
    """Return the identity of a span's parent."""
    return span.parent.get_span_context() if isinstance(span.parent, LeanSpan) else span.parent
