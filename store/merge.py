"""One record from two of the same key: what came again with more enriches, and nothing is lost.

Which of two wins does not depend on which came first, so that every order of arrival ends in the same record.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from inferometer.schema.records import Inference, Span, SpanKind, Status, ToolCall, UsageSource
from inferometer.store.encoding import dump_json

Record = TypeVar("Record", Span, Inference, ToolCall)

_NAMES = {kind: tuple(entry.name for entry in fields(kind)) for kind in (Span, Inference, ToolCall)}
_STATUS_ORDER = {Status.UNSET: 0, Status.OK: 1, Status.ERROR: 2}
_SOURCES = [
    *(UsageSource.ABSENT, UsageSource.REFUSED),
    *(UsageSource.ESTIMATED, UsageSource.COUNTED, UsageSource.PROVIDER),
]
_SOURCE_ORDER = {source: place for place, source in enumerate(_SOURCES)}


def merge_spans(one: Span, other: Span) -> Span:
    """Return one span from two views of it: the later normaliser's, else the ended one, else the richer one leads."""
    if one == other:
        return one
    lead, rest = _ordered(one, other, _span_rank)
    merged = filled(lead, rest)
    merged.kind = rest.kind if lead.kind is SpanKind.OTHER else lead.kind
    merged.status = max(lead.status, rest.status, key=_STATUS_ORDER.__getitem__)
    starts = [start for start in (lead.start_ns, rest.start_ns) if start is not None]
    merged.start_ns = min(starts, default=None)
    merged.attributes = {**rest.attributes, **lead.attributes}
    merged.tags = {**rest.tags, **lead.tags}
    merged.attributes_dropped = max(lead.attributes_dropped, rest.attributes_dropped)
    known = {(link.trace_id, link.span_id) for link in lead.links}
    merged.links = lead.links + [link for link in rest.links if (link.trace_id, link.span_id) not in known]
    return merged


def merge_inferences(one: Inference, other: Inference) -> Inference:
    """Return one inference from two views of it; the meters are those of the better source, else the larger ones."""
    if one == other:
        return one
    lead, rest = _ordered(one, other, _inference_rank)
    merged = filled(lead, rest)
    # never meters of one view beside those of another: they may count cached tokens differently
    merged.meters = lead.meters
    merged.raw_usage = lead.raw_usage
    merged.billable = lead.billable and rest.billable
    merged.reasons = _union(lead.reasons, rest.reasons)
    return merged


def merge_tool_calls(one: ToolCall, other: ToolCall) -> ToolCall:
    """Return one tool call from two views of it."""
    if one == other:
        return one
    lead, rest = _ordered(one, other, lambda call: (call.result_tokens or -1, call.duration_ns or -1))
    merged = filled(lead, rest)
    merged.reasons = _union(lead.reasons, rest.reasons)
    return merged


def _span_rank(span: Span) -> tuple[Any, ...]:
    return (span.normaliser_version, span.end_ns is not None, span.end_ns or 0, len(span.attributes))


def _inference_rank(call: Inference) -> tuple[Any, ...]:
    return (_SOURCE_ORDER[call.usage_source], call.meters.total or -1, call.meters.output or -1)


def _ordered(one: Record, other: Record, rank: Any) -> tuple[Record, Record]:
    first, second = rank(one), rank(other)
    leads = _reads_later(one, other) if first == second else first > second
    return (one, other) if leads else (other, one)


def _reads_later(one: Record, other: Record) -> bool:
    """Return whether a record's text comes after another's, by the first field in which they differ."""
    for name in _NAMES[type(one)]:
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine is not theirs and (type(mine) is not type(theirs) or mine != theirs):
            first, second = dump_json([repr(mine)]), dump_json([repr(theirs)])
            if first != second:
                return first > second
    return True


def filled(lead: Record, rest: Record) -> Record:
    """Return the leading record with what it does not know taken from the other."""
    values = []
    for name in _NAMES[type(lead)]:
        value = getattr(lead, name)
        if value is None or (not value and isinstance(value, (list, dict))):
            value = getattr(rest, name)
        values.append(value)
    return type(lead)(*values)


def _union(first: list[str], second: list[str]) -> list[str]:
    return list(dict.fromkeys([*first, *second]))
