"""Runs that go on in other traces: one whose root links to a span of an earlier run of its session is that run.

Pure, and the same for every order of arrival: a run goes on from the earliest it links to, never from a later one.
"""

from __future__ import annotations

from dataclasses import replace

from inferometer.ingest.tree import Tree
from inferometer.schema.records import Decisions, RecordBatch, Run, Span, Status

Key = tuple[bytes, bytes]


def continue_runs(batch: RecordBatch, decisions: Decisions) -> None:
    """Fold runs into the ones they continue; changes the decisions in place."""
    linking = {span.trace_id for span in batch.spans if span.links}
    if not linking:
        return
    members: dict[bytes, list[Span]] = {}
    for span in batch.spans:
        if span.trace_id in linking:
            members.setdefault(span.trace_id, []).append(span)
    trees = {trace_id: Tree(spans) for trace_id, spans in members.items()}
    runs = {run.run_id: run for run in decisions.runs}
    before: dict[str, str] = {}
    for run in decisions.runs:
        if run.trace_id in trees and run.session_id is not None:
            earlier = _continued(run, trees[run.trace_id], runs, decisions.run_ids)
            if earlier is not None:
                before[run.run_id] = earlier.run_id
    if before:
        _fold(decisions, runs, before)


def _order(run: Run) -> tuple[int, str]:
    return (run.start_ns or 0, run.run_id)


def _continued(run: Run, tree: Tree, runs: dict[str, Run], run_ids: dict[Key, str]) -> Run | None:
    """Return the earliest run of the same session that a run's root, or a span above it, links to."""
    found: list[Run] = []
    here: bytes | None = run.root_span_id
    while here is not None:
        for link in tree.spans[here].links:
            other = runs.get(run_ids.get((link.trace_id, link.span_id), ""))
            if (
                other is not None
                and other.trace_id != run.trace_id
                and other.session_id == run.session_id
                and _order(other) < _order(run)
            ):
                found.append(other)
        here = tree.parent[here]
    return min(found, key=_order, default=None)


def _fold(decisions: Decisions, runs: dict[str, Run], before: dict[str, str]) -> None:
    first: dict[str, str] = {}
    parts: dict[str, list[Run]] = {}
    for run in sorted(decisions.runs, key=_order):  # what a run goes on from comes before it
        earlier = before.get(run.run_id)
        first[run.run_id] = run.run_id if earlier is None else first[earlier]
        parts.setdefault(first[run.run_id], []).append(run)
    decisions.runs = [_united(parts[run.run_id]) for run in decisions.runs if first[run.run_id] == run.run_id]
    for call in decisions.inferences:
        own = decisions.run_ids.get((call.trace_id, call.span_id), "")
        if own in before:
            trace = runs[first[own]].trace_id.hex()
            call.reasons.append(f"run goes on from trace {trace}: a span link, same session")
    decisions.run_ids = {key: first[run_id] for key, run_id in decisions.run_ids.items()}


def _united(parts: list[Run]) -> Run:
    """Return one run from its parts in order of their start; how it ended is how the last that says so did."""
    if len(parts) == 1:
        return parts[0]
    whole = replace(parts[0])
    for name in ("agent_name", "user_id", "purpose", "weight", "service", "source"):
        known = (value for part in parts if (value := getattr(part, name)) is not None)
        setattr(whole, name, next(known, None))
    whole.start_ns = next((part.start_ns for part in parts if part.start_ns is not None), None)
    whole.end_ns = max((part.end_ns for part in parts if part.end_ns is not None), default=None)
    said = [part.status for part in parts if part.status is not Status.UNSET]
    whole.status = said[-1] if said else Status.UNSET
    whole.is_open = any(part.is_open for part in parts)
    whole.tags = {name: value for part in reversed(parts) for name, value in part.tags.items()}
    return whole
