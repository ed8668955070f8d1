"""The one way records enter the store: write, look at the whole of the traces touched, decide, apply."""

from __future__ import annotations

import time
from dataclasses import replace

from inferometer.ingest.resolve import resolve
from inferometer.schema.records import Decisions, Inference, RecordBatch
from inferometer.store import Transaction, WriteCounts

_ENRICHED = (
    "provider",
    "request_model",
    "response_model",
    "response_id",
    "service_tier",
    "batch",
    "stream",
    "attempts",
    "ttft_ns",
    "inter_token_p50_ns",
    "inter_token_p95_ns",
    "finish_reason",
    "tools_offered",
    "composition",
    "recorded_cost_usd",
    "queue_ns",
    "prefill_ns",
    "decode_ns",
    "prefix",
)
"""What a merged view gives to the one that stands for it, where that one does not know it."""


def commit(tx: Transaction, batch: RecordBatch, now_ns: int | None = None) -> WriteCounts:
    """Write a batch and decide again about every trace it touches.

    Args:
        tx: the transaction; nothing of the batch is seen by others before it ends.
        batch: records in any order, of whole traces or parts of them.
        now_ns: nanoseconds since 1970; the clock where None.

    Returns:
        What was added and what was there already.
    """
    counts = tx.write(batch)
    touched = {span.trace_id for span in batch.spans}
    if not touched:
        return counts
    whole = tx.load_traces(touched)
    decisions = resolve(whole, time.time_ns() if now_ns is None else now_ns)
    enriched = _enriched(whole, decisions)
    if enriched:
        tx.write(RecordBatch(inferences=enriched))
    tx.apply(decisions)
    return counts


def _enriched(whole: RecordBatch, decisions: Decisions) -> list[Inference]:
    """Return the calls that learn from views of them that were merged away."""
    calls = {(call.trace_id, call.span_id): call for call in whole.inferences}
    views: dict[tuple[bytes, bytes], list[Inference]] = {}
    for decision in decisions.inferences:
        if decision.merged_into is not None:
            kept = (decision.trace_id, decision.merged_into)
            views.setdefault(kept, []).append(calls[decision.trace_id, decision.span_id])
    enriched = []
    for key, merged in views.items():
        call = calls[key]
        known = replace(call)
        for view in sorted(merged, key=lambda view: view.span_id):
            for name in _ENRICHED:
                if not getattr(known, name) and getattr(view, name):
                    setattr(known, name, getattr(view, name))
        if known != call:
            enriched.append(known)
    return enriched
