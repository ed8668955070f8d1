"""Reading old records again: what a newer normaliser makes of them, and what that changes.

A stored span keeps the attributes its dialect knows, so it can be read again as if it had just come. What was counted
or composed from content that was dropped cannot, and those values stay. Records of importers (transcripts and
sessions) hold no attributes to read; for them, only what was decided about whole traces is decided again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.resolve import resolve
from inferometer.schema.meters import METER_NAMES
from inferometer.schema.records import NORMALISER_VERSION, Inference, RecordBatch, Span
from inferometer.schema.selection import Selection
from inferometer.store import Store, Transaction
from inferometer.store.merge import filled
from inferometer.store.upkeep import all_trace_ids

_TRACES_AT_ONCE = 200


@dataclass(slots=True)
class Changes:
    """What reading again changed; ``before`` and ``after`` hold counts of the whole store."""

    traces: int = 0
    spans: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    before: dict[str, int] = field(default_factory=dict)
    after: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the ``store reprocess`` document."""
        return {
            "traces": self.traces,
            "spans": self.spans,
            "changed_fields": dict(self.fields.most_common()),
            "before": self.before,
            "after": self.after,
        }

    def lines(self) -> Iterable[str]:
        """Yield one line for each thing that changed."""
        for name, count in self.fields.most_common():
            yield f"{name} changed in {count:,} records"
        for name, value in self.after.items():
            if value != self.before[name]:
                yield f"{name.replace('_', ' ')}: {self.before[name]:,} -> {value:,}"


def reprocess(store: Store, *, everything: bool = False, now_ns: int | None = None) -> Changes:
    """Read old records again, trace by trace, and decide again about every trace.

    Args:
        store: where they are.
        everything: also records that this version of the normaliser wrote.
        now_ns: nanoseconds since 1970; the clock where None.
    """
    changes = Changes(before=_count(store))
    now = time.time_ns() if now_ns is None else now_ns
    trace_ids = all_trace_ids(store)
    for begin in range(0, len(trace_ids), _TRACES_AT_ONCE):
        chunk = trace_ids[begin : begin + _TRACES_AT_ONCE]
        with store.transaction() as tx:
            batch = tx.load_traces(chunk)
            _read_again(tx, batch, everything, changes)
            whole = tx.load_traces(chunk)
            whole.extend(tx.load_traces(tx.joined_trace_ids(whole) - set(chunk)))
            tx.apply(resolve(whole, now))
        changes.traces += len(chunk)
    changes.after = _count(store)
    return changes


def _read_again(tx: Transaction, batch: RecordBatch, everything: bool, changes: Changes) -> None:
    old_spans = {(span.trace_id, span.span_id): span for span in batch.spans}
    old_calls = {(call.trace_id, call.span_id): call for call in batch.inferences}
    old_tools = {(tool.trace_id, tool.span_id): tool for tool in batch.tool_calls}
    wanted = {
        key: span
        for key, span in old_spans.items()
        if span.scope is not None and (everything or span.normaliser_version < NORMALISER_VERSION)
    }
    # what was kept was kept because the user had asked for it
    found = normalise(map(raw_of, wanted.values()), keep_content=True)
    rewritten = RecordBatch()
    for span in found.spans:
        old = old_spans[span.trace_id, span.span_id]
        new = _keep(filled(span, old), old)
        rewritten.spans.append(new)
        _note(changes, "span", replace(old, normaliser_version=new.normaliser_version), new)
    for call in found.inferences:
        key = (call.trace_id, call.span_id)
        before = old_calls.get(key)
        after = call if before is None else _keep_counted(filled(call, before), before)
        rewritten.inferences.append(after)
        _note(changes, "inference", before, after)
    for tool in found.tool_calls:
        known = old_tools.get((tool.trace_id, tool.span_id))
        rewritten.tool_calls.append(tool if known is None else filled(tool, known))
        _note(changes, "tool_call", known, rewritten.tool_calls[-1])
    calls = {(call.trace_id, call.span_id) for call in rewritten.inferences}
    tools = {(tool.trace_id, tool.span_id) for tool in rewritten.tool_calls}
    gone = [key for key in wanted if (key in old_calls and key not in calls) or (key in old_tools and key not in tools)]
    tx.remove_calls(gone)
    tx.rewrite(rewritten)
    changes.spans += len(wanted)
    changes.fields["no longer a call"] += len(gone)
    changes.fields += Counter()


def raw_of(span: Span) -> RawSpan:
    """Return a stored span as its emitter wrote it, as far as it was kept."""
    scope, _, scope_version = (span.scope or "").partition(" ")
    return RawSpan(
        trace_id=span.trace_id,
        span_id=span.span_id,
        name=span.name,
        parent_id=span.parent_id,
        otel_kind=span.otel_kind,
        start_ns=span.start_ns,
        end_ns=span.end_ns,
        status=span.status,
        attributes=span.attributes,
        links=span.links,
        resource=span.resource,
        scope=scope or None,
        scope_version=scope_version or None,
        source=span.source,
    )


def _keep(new: Span, old: Span) -> Span:
    """Return a span read again with what cannot be read again: sizes of what was cut, hashed users, weights."""
    new.user_id, new.weight, new.tags = old.user_id, old.weight, {**old.tags, **new.tags}
    new.attributes_dropped, new.run_id, new.source = old.attributes_dropped, old.run_id, old.source
    return new


def _keep_counted(new: Inference, old: Inference) -> Inference:
    if not new.meters.is_known and old.meters.is_known:
        new.meters, new.usage_source, new.usage_semantics = old.meters, old.usage_source, old.usage_semantics
    return new


def _note(changes: Changes, kind: str, old: Any, new: Any) -> None:
    if old is None:
        changes.fields[f"new {kind}"] += 1
        return
    for name in type(new).__dataclass_fields__:
        # a chain is not loaded to be compared
        if name != "prefix" and getattr(old, name) != getattr(new, name):
            changes.fields[f"{kind} {name}"] += 1


def _count(store: Store) -> dict[str, int]:
    counts: Counter[str] = Counter(runs=len(store.runs()))
    for row in store.inferences(Selection()):
        counts["billable_inferences"] += 1
        for name in METER_NAMES:
            counts[name] += getattr(row.inference.meters, name) or 0
    return {name: counts[name] for name in ("runs", "billable_inferences", *METER_NAMES)}
