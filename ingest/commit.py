"""The one way records enter the store: write, look at the whole of the traces touched, decide, apply."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from operator import is_
from typing import TypeVar

from inferometer.ingest.joins import sessions_to_join
from inferometer.ingest.prefixes import complete
from inferometer.ingest.resolve import resolve
from inferometer.ingest.rollups import begin_calls, name_models
from inferometer.schema.records import Decisions, Inference, RecordBatch, Span, ToolCall
from inferometer.store import Transaction, WriteCounts
from inferometer.store.merge import merge_inferences, merge_spans, merge_tool_calls

Record = TypeVar("Record", Span, Inference, ToolCall)

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


@dataclass(slots=True, frozen=True)
class Committed:
    """What a commit added to the store; ``inferences`` are billable ones, ``tool_calls`` those that stand alone.

    ``duplicates`` are spans that were there already and calls that were merged into others; ``closing_runs``
    are those that were touched and that time alone will close.
    """

    spans: int = 0
    runs: int = 0
    inferences: int = 0
    tool_calls: int = 0
    duplicates: int = 0
    closing_runs: int = 0

    def __add__(self, other: Committed) -> Committed:
        return Committed(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


def commit(tx: Transaction, batch: RecordBatch, now_ns: int | None = None) -> WriteCounts:
    """Write a batch and decide again about every trace it touches.

    Args:
        tx: the transaction; nothing of the batch is seen by others before it ends.
        batch: records in any order, of whole traces or parts of them.
        now_ns: nanoseconds since 1970; the clock where None.

    Returns:
        What was added and what was there already.
    """
    return _commit(tx, batch, now_ns).counts


def commit_counted(tx: Transaction, batch: RecordBatch, now_ns: int | None = None) -> Committed:
    """Commit a batch as `commit` does, and return what it means for runs and billable calls."""
    done = _commit(tx, batch, now_ns, compare=True)
    counts, was, now = done.counts, _Tally.of(done.before), _Tally.of(done.after)
    return Committed(
        spans=counts.spans,
        runs=now.runs - was.runs,
        inferences=now.billable - was.billable,
        tool_calls=now.tools - was.tools,
        duplicates=batch.duplicates + counts.duplicates + max(0, now.merged - was.merged),
        closing_runs=_count_closing(done),
    )


def _count_closing(done: _Done) -> int:
    """Return how many runs are open only until they were quiet for long enough: their root has ended."""
    open_runs = {(run.trace_id, run.root_span_id) for run in done.after.runs if run.is_open}
    if not open_runs:
        return 0
    return sum(span.end_ns is not None and (span.trace_id, span.span_id) in open_runs for span in done.spans)


@dataclass(slots=True, frozen=True)
class _Tally:
    runs: int
    billable: int
    tools: int
    merged: int

    @classmethod
    def of(cls, decisions: Decisions) -> _Tally:
        merged_tools = sum(tool.merged_into is not None for tool in decisions.tool_calls)
        return cls(
            runs=len(decisions.runs),
            billable=sum(call.billable for call in decisions.inferences),
            tools=len(decisions.tool_calls) - merged_tools,
            merged=sum(call.merged_into is not None for call in decisions.inferences) + merged_tools,
        )


@dataclass(slots=True, frozen=True)
class _Done:
    """What was written, the decisions before, where they are to be compared, and after, and the spans decided about."""

    counts: WriteCounts
    before: Decisions
    after: Decisions
    spans: list[Span]


def _commit(tx: Transaction, batch: RecordBatch, now_ns: int | None, compare: bool = False) -> _Done:
    touched = {span.trace_id for span in batch.spans}
    moment = time.time_ns() if now_ns is None else now_ns
    complete(batch, tx.load_prefixes)
    batch, before, left_out = _meet(tx, batch, touched)
    is_fresh = _is_fresh(before, batch)
    whole = batch if is_fresh else _united(before, batch)
    begun = begin_calls(whole)
    if begun:
        whole = _united(whole, begun)
        if is_fresh:
            batch = replace(batch, spans=whole.spans, inferences=whole.inferences)
    is_known = not is_fresh and _is_same(whole, before)
    decisions = resolve(whole, moment)
    enriched = [*_enriched(whole, decisions), *name_models(whole, decisions)]
    if is_fresh and not enriched:
        return _Done(tx.write(batch, decisions), Decisions(), decisions, whole.spans)
    if is_known:  # all of it came before: what hangs beside the spans alone has to be looked at
        left_out += len(batch.spans)
        batch = replace(batch, spans=[], inferences=[], tool_calls=[])
    counts = tx.write(batch)
    counts = replace(counts, duplicates=counts.duplicates + left_out)
    if enriched or begun:
        tx.write(RecordBatch(spans=begun.spans, inferences=[*begun.inferences, *enriched]))
    if touched:
        tx.apply(decisions)
    was = Decisions()
    if compare and before.spans:
        was = decisions if is_known else resolve(before, moment)
    return _Done(counts, was, decisions, whole.spans)


def _meet(tx: Transaction, batch: RecordBatch, touched: set[bytes]) -> tuple[RecordBatch, RecordBatch, int]:
    """Return a batch as it fits the store, what the store holds that is decided with it, and how much did not fit."""
    sessions = sessions_to_join(batch)
    linked = set(tx.linked_trace_ids(sessions)) if sessions else set()
    # most traces of most batches are new: that costs one look at an index, and nothing is loaded
    earlier = tx.known_trace_ids(touched | linked) if touched else set()
    left_out = 0
    before = RecordBatch()
    if earlier:
        batch, left_out = tx.fit_into_thinned(batch, earlier)
        before = tx.load_traces(earlier)
        if further := sessions_to_join(before) - sessions:
            linked |= set(tx.linked_trace_ids(further))
            before.extend(tx.load_traces(linked - earlier - touched))
    joined = tx.joined_trace_ids(RecordBatch(spans=[*before.spans, *batch.spans])) - touched - linked
    if joined:
        before.extend(tx.load_traces(joined))
    return batch, before, left_out


def _united(before: RecordBatch, batch: RecordBatch) -> RecordBatch:
    """Return what the store will hold of the traces after the write, each record once."""
    return RecordBatch(
        spans=_merged([*before.spans, *batch.spans], merge_spans),
        inferences=_merged([*before.inferences, *batch.inferences], merge_inferences),
        tool_calls=_merged([*before.tool_calls, *batch.tool_calls], merge_tool_calls),
    )


def _is_fresh(before: RecordBatch, batch: RecordBatch) -> bool:
    """Return whether a batch brings whole new traces, each span once: then it is what the store will hold."""
    return not before.spans and len({(span.trace_id, span.span_id) for span in batch.spans}) == len(batch.spans)


def _is_same(whole: RecordBatch, before: RecordBatch) -> bool:
    """Return whether nothing was added to what the store holds: what is equal is the stored record itself."""
    for name in ("spans", "inferences", "tool_calls"):
        one, other = getattr(whole, name), getattr(before, name)
        if len(one) != len(other) or not all(map(is_, one, other)):
            return False
    return True


def _merged(records: list[Record], merge: Callable[[Record, Record], Record]) -> list[Record]:
    united: dict[tuple[bytes, bytes], Record] = {}
    for record in records:
        key = (record.trace_id, record.span_id)
        known = united.get(key)
        united[key] = record if known is None else merge(known, record)
    return list(united.values())


def _enriched(whole: RecordBatch, decisions: Decisions) -> list[Inference]:
    """Return the calls that learn from views of them that were merged away."""
    if all(decision.merged_into is None for decision in decisions.inferences):
        return []
    calls = {(call.trace_id, call.span_id): call for call in whole.inferences}
    views: dict[tuple[bytes, bytes], list[Inference]] = {}
    for decision in decisions.inferences:
        if decision.merged_into is not None:
            kept = (decision.trace_id, decision.merged_into)
            if kept in calls:  # a view in another trace is no part of this one
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
