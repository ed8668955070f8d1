"""One run laid out in time, and the calls that cost most: what a report opens first."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import nsmallest
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.schema.records import Span

BARS_LIMIT = 300


def costliest_run(dataset: Dataset) -> dict[str, Any] | None:
    """Return the costliest run as bars of a waterfall, in order of start; None where no run holds a priced call."""
    costs = dataset.cost_by_run_usd
    candidates = [run for run in dataset.runs if costs.get(run.run_id)]
    if not candidates:
        candidates = [run for run in dataset.runs if dataset.calls_by_run.get(run.run_id)]
    if not candidates:
        return None
    run = max(
        candidates,
        key=lambda run: (costs.get(run.run_id, ZERO), len(dataset.calls_by_run.get(run.run_id, [])), run.run_id),
    )
    spans = dataset.read_spans(run.run_id)
    calls = dataset.calls_by_run.get(run.run_id, [])
    bars = _bars(spans, calls, dataset)
    return {
        "run_id": run.run_id,
        "name": run.name,
        "agent": run.agent_name,
        "session_id": run.session_id,
        "source": run.source,
        "cost_usd": costs.get(run.run_id) if any(call.cost_usd is not None for call in calls) else None,
        "unpriced": sum(call.cost_usd is None for call in calls),
        "inferences": len(calls),
        "tool_calls": len(dataset.tools_by_run.get(run.run_id, [])),
        "duration_s": max((bar["start_s"] + bar["duration_s"] for bar in bars), default=None),
        "bars": bars[:BARS_LIMIT],
        "bars_left_out": max(0, len(bars) - BARS_LIMIT),
    }


def _bars(spans: Sequence[Span], calls: Sequence[CostedCall], dataset: Dataset) -> list[dict[str, Any]]:
    by_key = {call.key: call for call in calls}
    merged = {(row.inference.trace_id, row.inference.span_id) for row in dataset.merged_calls}
    timed = [
        span
        for span in spans
        if span.start_ns is not None and span.end_ns is not None and (span.trace_id, span.span_id) not in merged
    ]
    if not timed:
        return []
    origin = min(span.start_ns for span in timed if span.start_ns is not None)
    parents = {span.span_id: span.parent_id for span in timed}
    children: dict[bytes | None, list[Span]] = {}
    for span in timed:
        parent = span.parent_id if span.parent_id in parents else None
        children.setdefault(parent, []).append(span)
    bars: list[dict[str, Any]] = []
    stack = [(span, 0) for span in sorted(children.get(None, []), key=_order, reverse=True)]
    seen: set[bytes] = set()
    while stack:
        span, depth = stack.pop()
        if span.span_id in seen:
            continue
        seen.add(span.span_id)
        bars.append(_bar(span, depth, origin, by_key.get((span.trace_id, span.span_id))))
        stack += [(child, depth + 1) for child in sorted(children.get(span.span_id, []), key=_order, reverse=True)]
    return bars


def _order(span: Span) -> tuple[int, bytes]:
    return span.start_ns or 0, span.span_id


def _bar(span: Span, depth: int, origin_ns: int, call: CostedCall | None) -> dict[str, Any]:
    assert span.start_ns is not None
    assert span.end_ns is not None
    meters = call.meters if call else None
    return {
        "span_id": span.span_id.hex(),
        "parent_id": span.parent_id.hex() if span.parent_id else None,
        "name": span.name,
        "kind": str(span.kind),
        "depth": depth,
        "start_s": (span.start_ns - origin_ns) / 1e9,
        "duration_s": max(0, span.end_ns - span.start_ns) / 1e9,
        "status": str(span.status),
        "model": call.model if call else None,
        "input_tokens": meters.input_total if meters else None,
        "output_tokens": meters.output if meters else None,
        "cost_usd": call.cost_usd if call else None,
    }


def costliest_calls(dataset: Dataset, limit: int = 50) -> list[dict[str, Any]]:
    """Return the calls that cost most, with what it takes to find them again."""
    ranked = nsmallest(limit, dataset.calls, key=lambda call: (-call.weighted_cost_usd, -call.input_tokens, call.key))
    return [
        {
            "trace_id": call.inference.trace_id.hex(),
            "span_id": call.inference.span_id.hex(),
            "run_id": call.placement.run_id,
            "agent": call.placement.agent_name,
            "model": call.model,
            "input_tokens": call.meters.input_total,
            "cache_read": call.meters.cache_read,
            "output_tokens": call.meters.output,
            "cost_usd": call.cost_usd,
        }
        for call in ranked
    ]
