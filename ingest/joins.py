"""Calls that logs and spans both tell of, in one trace or in two: they are one call, and the span stands for it.

By request id where both have one, else by session, model, tokens and the moment of the end. A span that names neither
session nor model, as Codex' requests do, is of the session of its run, and of any model.
"""

from __future__ import annotations

from inferometer.ingest.duplicates import models_agree
from inferometer.ingest.logs import FROM_LOG, REQUEST_ID
from inferometer.schema.records import Decisions, InferenceDecision, RecordBatch, Span

NEAR_NS = 5_000_000_000
"""How far apart log and span of one call may end: events are stamped when they are written."""

_WITHOUT_REQUEST_ID = frozenset({"codex"})
"""Dialects whose spans and logs carry no id of the request in common."""

Key = tuple[bytes, bytes]


def sessions_to_join(batch: RecordBatch) -> set[str]:
    """Return the sessions whose other traces may hold the counterparts of a batch's calls."""
    return {
        span.session_id
        for span in batch.spans
        if span.session_id
        and (FROM_LOG in span.attributes or REQUEST_ID in span.attributes or span.dialect in _WITHOUT_REQUEST_ID)
    }


def join_logs(batch: RecordBatch, decisions: Decisions) -> None:
    """Fold calls that came by log into the billed spans of the same calls; changes the decisions in place."""
    if not any(FROM_LOG in span.attributes for span in batch.spans):
        return
    spans = {(span.trace_id, span.span_id): span for span in batch.spans}
    calls = {(call.trace_id, call.span_id): call for call in batch.inferences}
    sessions = {run.run_id: run.session_id for run in decisions.runs}
    logged: list[InferenceDecision] = []
    by_request: dict[str, list[InferenceDecision]] = {}
    by_likeness: dict[tuple[object, ...], list[InferenceDecision]] = {}

    def likeness(key: Key) -> tuple[object, ...]:
        meters = calls[key].meters
        session_id = spans[key].session_id or sessions.get(decisions.run_ids.get(key, ""))
        return (session_id, meters.input_total, meters.output)

    for decision in decisions.inferences:
        key = (decision.trace_id, decision.span_id)
        if not decision.billable or key not in spans:
            continue
        span = spans[key]
        if FROM_LOG in span.attributes:
            logged.append(decision)
            continue
        request_id = span.attributes.get(REQUEST_ID)
        if isinstance(request_id, str):
            by_request.setdefault(request_id, []).append(decision)
        by_likeness.setdefault(likeness(key), []).append(decision)
    for decision in sorted(logged, key=lambda entry: _order(spans[entry.trace_id, entry.span_id])):
        key = (decision.trace_id, decision.span_id)
        span = spans[key]
        request_id = span.attributes.get(REQUEST_ID)
        told = by_request.get(request_id, []) if isinstance(request_id, str) else []
        if told:
            _fold(decision, told[0], "log record of a call that a span tells of: same request id")
            continue
        alike = by_likeness.get(likeness(key), [])
        near = [
            other
            for other in alike
            if _is_near(span, spans[other.trace_id, other.span_id])
            and models_agree(calls[key], calls[other.trace_id, other.span_id])
        ]
        if near:
            ends = span.end_ns or 0
            nearest = min(near, key=lambda other: _apart(ends, spans[other.trace_id, other.span_id]))
            alike.remove(nearest)
            _fold(decision, nearest, "log record of a call that a span tells of: same session, model, tokens and time")


def _fold(decision: InferenceDecision, into: InferenceDecision, reason: str) -> None:
    decision.billable = False
    decision.merged_into = into.span_id
    where = "" if into.trace_id == decision.trace_id else f" (trace {into.trace_id.hex()})"
    decision.reasons.append(reason + where)


def _is_near(one: Span, other: Span) -> bool:
    return one.end_ns is not None and other.end_ns is not None and abs(one.end_ns - other.end_ns) <= NEAR_NS


def _apart(end_ns: int, other: Span) -> tuple[int, bytes, bytes]:
    return (abs(end_ns - (other.end_ns or 0)), other.trace_id, other.span_id)


def _order(span: Span) -> tuple[int, bytes]:
    return (span.start_ns or 0, span.span_id)
