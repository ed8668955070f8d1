"""Weka and AgentX sessions: one JSON file a session, sub-agents nested, prefix blocks under ids of the file's own.

A sub-agent's entry stands where it was done; its requests count from its own begin. ``input_types`` holds ``text`` for
the first call of a run, which is how a reader finds the runs again. Calls without a known time, input or output cannot
be written and are counted.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inferometer.exporters.mooncake import BlockIds
from inferometer.schema.errors import InputError
from inferometer.schema.records import DependencyKind, Inference, Run, Span, SpanKind
from inferometer.schema.rows import InferenceRow
from inferometer.schema.selection import Selection
from inferometer.store import Store

_BLOCK_TOKENS = 64
_SECOND = 1_000_000_000
_STOPS = {"stop": "end_turn", "end_turn": "end_turn", "tool_use": "tool_use", "tool_calls": "tool_use"}


@dataclass(slots=True)
class WekaCounts:
    """What was written, and what could not be."""

    sessions: int = 0
    calls: int = 0
    left_out: int = 0
    files: list[str] = field(default_factory=list)


def write_weka(store: Store, selection: Selection, folder: Path) -> WekaCounts:
    """Write every selected session as ``<session>.json`` into a folder; a run without a session is one.

    Raises:
        InputError: the folder cannot be written.
    """
    sessions: dict[str, list[Run]] = defaultdict(list)
    for run in store.runs(selection):
        sessions[run.session_id or run.run_id].append(run)
    counts = WekaCounts()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for session_id, runs in sessions.items():
            by_run = {run.run_id: _calls_of(run, selection, store) for run in runs}
            document = _session(session_id, runs, by_run, store, counts)
            if document is None:
                continue
            path = folder / f"{_stem(session_id)}.json"
            path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8")
            counts.sessions += 1
            counts.files.append(str(path))
    except OSError as error:
        raise InputError(str(folder), error.strerror or "cannot be written") from error
    return counts


def _stem(session_id: str) -> str:
    """Return a session's file name: its id, and where that is none, what no other session has."""
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", session_id)[:120]
    return (
        stem
        if stem == session_id
        else f"{stem}-{hashlib.sha256(session_id.encode(errors='surrogatepass')).hexdigest()[:12]}"
    )


def _calls_of(run: Run, selection: Selection, store: Store) -> list[InferenceRow]:
    where = (*selection.where, ("run", run.run_id))
    return list(store.inferences(Selection(selection.since_ns, selection.until_ns, where), with_prefix=True))


def _session(
    session_id: str, runs: list[Run], by_run: dict[str, list[InferenceRow]], store: Store, counts: WekaCounts
) -> dict[str, Any] | None:
    blocks = BlockIds(_block_tokens(by_run, runs))
    entries: list[tuple[int, dict[str, Any]]] = []
    begin = min(
        (start_ns for run in runs for row in by_run[run.run_id] if (start_ns := row.placement.start_ns) is not None),
        default=0,
    )
    written: list[InferenceRow] = []
    for run in runs:
        calls = [row for row in by_run[run.run_id] if _is_whole(row)]
        counts.left_out += len(by_run[run.run_id]) - len(calls)
        if calls:
            written += calls
            entries += _run_entries(run, calls, store, blocks, begin)
    if not written:
        return None
    counts.calls += len(written)
    entries.sort(key=lambda entry: entry[0])
    models = sorted({row.inference.model for row in written if row.inference.model})
    composition = next((row.inference.composition for row in written if row.inference.composition), None)
    given = sum(row.inference.meters.input_total or 0 for row in written)
    made = sum(row.inference.meters.output or 0 for row in written)
    return {
        "id": session_id,
        "models": models,
        "block_size": blocks.block_tokens,
        "hash_id_scope": "local",
        "tool_tokens": (composition.tools if composition else None) or 0,
        "system_tokens": (composition.system if composition else None) or 0,
        "requests": [entry for _, entry in entries],
        "totals": {"combined_tokens": {"input": given, "output": made}},
    }


def _block_tokens(by_run: dict[str, list[InferenceRow]], runs: list[Run]) -> int:
    sizes = {row.inference.prefix.block_tokens for run in runs for row in by_run[run.run_id] if row.inference.prefix}
    return max(sizes, default=_BLOCK_TOKENS)


def _is_whole(row: InferenceRow) -> bool:
    meters = row.inference.meters
    return row.placement.start_ns is not None and meters.input_total is not None and meters.output is not None


def _run_entries(
    run: Run, calls: list[InferenceRow], store: Store, blocks: BlockIds, begin_ns: int
) -> list[tuple[int, dict[str, Any]]]:
    spans = {span.span_id: span for span in store.spans_of_run(run.run_id)}
    by_agent: dict[bytes | None, list[InferenceRow]] = defaultdict(list)
    for row in calls:
        by_agent[_agent_of(row.placement.parent_id, spans, run)].append(row)
    inner: dict[bytes | None, list[Span]] = defaultdict(list)
    pending = [agent for agent in by_agent if agent is not None]
    known = set(pending)
    while pending:
        agent = pending.pop()
        around = _agent_of(spans[agent].parent_id, spans, run)
        inner[around].append(spans[agent])
        if around is not None and around not in known:
            known.add(around)
            pending.append(around)

    def entries_of(agent: bytes | None, origin_ns: int, *, first_is_text: bool) -> list[tuple[int, dict[str, Any]]]:
        entries = []
        for place, row in enumerate(by_agent[agent]):
            start_ns = row.placement.start_ns or 0
            entries.append((start_ns, _request(row, origin_ns, blocks, is_text=first_is_text and place == 0)))
        for span in inner[agent]:
            start_ns = span.start_ns if span.start_ns is not None else origin_ns
            nested = sorted(entries_of(span.span_id, start_ns, first_is_text=True), key=lambda entry: entry[0])
            end_ns = span.end_ns if span.end_ns is not None else start_ns
            models = sorted({str(entry.get("model")) for _, entry in nested if entry.get("model")})
            entries.append(
                (
                    end_ns,
                    {
                        "t": (end_ns - origin_ns) / _SECOND,
                        "type": "subagent",
                        "agent_id": span.span_id.hex(),
                        "subagent_type": span.agent_name or span.name,
                        "duration_ms": (end_ns - start_ns) / 1_000_000,
                        "status": "completed",
                        "models": models,
                        "requests": [entry for _, entry in nested],
                    },
                )
            )
        return entries

    return entries_of(None, begin_ns, first_is_text=True)


def _agent_of(parent_id: bytes | None, spans: dict[bytes, Span], run: Run) -> bytes | None:
    """Return the nearest agent span around, None for the run's own."""
    seen: set[bytes] = set()
    while parent_id is not None and parent_id in spans and parent_id not in seen:
        seen.add(parent_id)
        span = spans[parent_id]
        if span.span_id == run.root_span_id:
            return None
        if span.kind is SpanKind.AGENT:
            return span.span_id
        parent_id = span.parent_id
    return None


def _full_blocks(call: Inference, blocks: BlockIds) -> list[int]:
    """Return the ids of the blocks that are full; such a file names no others."""
    if call.prefix is None:
        return []
    known = call.prefix.blocks * call.prefix.block_tokens // blocks.block_tokens
    return blocks.ids_of(call, min(known, (call.meters.input_total or 0) // blocks.block_tokens))


def _request(row: InferenceRow, origin_ns: int, blocks: BlockIds, *, is_text: bool) -> dict[str, Any]:
    call, placement = row.inference, row.placement
    start_ns = placement.start_ns or 0
    gaps = [
        edge.gap_ns for edge in call.depends_on if edge.gap_ns is not None and edge.kind is not DependencyKind.SPAWN
    ]
    entry: dict[str, Any] = {
        "t": (start_ns - origin_ns) / _SECOND,
        "type": "s" if call.stream else "n",
        "model": call.model,
        "in": call.meters.input_total,
        "out": call.meters.output,
        "hash_ids": _full_blocks(call, blocks),
        "input_types": ["text"] if is_text else ["tool_result"],
        "output_types": ["tool_use"] if _STOPS.get(call.finish_reason or "") == "tool_use" else ["text"],
        "stop": _STOPS.get(call.finish_reason or "", ""),
    }
    if placement.end_ns is not None:
        entry["api_time"] = (placement.end_ns - start_ns) / _SECOND
    if gaps:
        entry["think_time"] = min(gaps) / _SECOND
    if call.ttft_ns is not None:
        entry["ttft"] = call.ttft_ns / _SECOND
    return entry
