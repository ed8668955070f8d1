"""Writing: records in, decisions applied, all of it in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, TypeVar

from sqlalchemy import Table, delete, select, tuple_
from sqlalchemy.engine import Connection

from inferometer.schema.records import Decisions, Inference, PrefixChain, RecordBatch, ServingSample, Span, ToolCall
from inferometer.store import tables
from inferometer.store.call_rows import (
    dump_dependencies,
    dump_reasons,
    inference_of,
    inference_row,
    tool_call_of,
    tool_call_row,
)
from inferometer.store.chunks import chunks, rows_with
from inferometer.store.loading import load_spans, load_traces
from inferometer.store.merge import merge_inferences, merge_spans, merge_tool_calls
from inferometer.store.rows import (
    SAID_BY_SOURCES,
    charge_rows,
    load_links,
    outcome_rows,
    resource_row,
    run_row,
    sample_row,
    span_row,
)
from inferometer.store.segments import SegmentPlacer, SegmentReader
from inferometer.store.thinning import fit_in
from inferometer.store.writers import writer_for
from inferometer.store.writers.base import Row

Record = TypeVar("Record", Span, Inference, ToolCall)
Key = tuple[bytes, bytes]

_PREFIX_COLUMNS = (tables.INFERENCES.c.prefix_segment, tables.INFERENCES.c.prefix_blocks)


@dataclass(slots=True, frozen=True)
class WriteCounts:
    """What a write added; ``duplicates`` are spans that the store or the batch had already.

    ``enriched`` counts records that were there and came again with more.
    """

    spans: int = 0
    inferences: int = 0
    tool_calls: int = 0
    duplicates: int = 0
    enriched: int = 0
    charges: int = 0
    outcomes: int = 0
    serving_samples: int = 0

    def __add__(self, other: WriteCounts) -> WriteCounts:
        return WriteCounts(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))


class Transaction:
    """One transaction on a store; what it wrote is gone if its block raises."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._writer = writer_for(connection)
        self._segments = SegmentPlacer(connection)

    def write(self, batch: RecordBatch, decisions: Decisions | None = None) -> WriteCounts:
        """Write records; the ones that are there already are merged, never lost and never doubled.

        Args:
            batch: records in any order.
            decisions: about records of this batch alone; applied with it, which costs half as much for new records.
        """
        self._writer.lock_traces({span.trace_id for span in batch.spans})
        self._write_resources(batch)
        decided = decisions or Decisions()
        run_ids = decided.run_ids

        def row_of_span(key: Key, span: Span) -> Row:
            return span_row(span, run_ids.get(key))

        spans, enriched_spans = self._write_keyed(tables.SPANS, batch.spans, row_of_span, self._load_spans, merge_spans)
        calls, enriched_calls = self._write_inferences(batch.inferences, decided)
        tools, enriched_tools = self._write_tool_calls(batch.tool_calls, decided)
        if decisions is not None:
            added = (spans, calls, tools)
            if added == (len(batch.spans), len(batch.inferences), len(batch.tool_calls)):
                self._write_runs(decisions)
            else:
                self.apply(decisions)
        return WriteCounts(
            spans=spans,
            inferences=calls,
            tool_calls=tools,
            duplicates=len(batch.spans) - spans,
            enriched=enriched_spans + enriched_calls + enriched_tools,
            charges=self._write_numbered(tables.CHARGES, charge_rows(batch.charges)),
            outcomes=self._write_numbered(tables.OUTCOMES, outcome_rows(batch.outcomes)),
            serving_samples=self._write_samples(batch.serving_samples),
        )

    def rewrite(self, batch: RecordBatch) -> None:
        """Write spans, inferences and tool calls in place of those of the same key, with nothing of the old ones.

        A call without a prefix chain keeps the one it had: chains cannot be read again.
        """
        self._write_resources(batch)
        self._writer.upsert(tables.SPANS, [span_row(span) for span in batch.spans])
        keys = [(call.trace_id, call.span_id) for call in batch.inferences]
        known = {(row.trace_id, row.span_id): row for row in self._rows(tables.INFERENCES, keys)}
        rows = []
        for key, call in zip(keys, batch.inferences, strict=True):
            if call.prefix is not None:
                place: tuple[bytes | None, int | None] = self._segments.place(call.prefix)
            else:
                place = (known[key].prefix_segment, known[key].prefix_blocks) if key in known else (None, None)
            rows.append(inference_row(call, *place))
        self._writer.upsert(tables.INFERENCES, rows)
        self._writer.insert_new(tables.PREFIX_SEGMENTS, self._segments.take_rows())
        self._writer.upsert(tables.TOOL_CALLS, [tool_call_row(call) for call in batch.tool_calls])

    def remove_calls(self, keys: Iterable[Key]) -> None:
        """Delete the inferences and tool calls of spans that turned out to be neither."""
        wanted = sorted(set(keys))
        for table in (tables.INFERENCES, tables.TOOL_CALLS):
            for chunk in chunks(wanted):
                self.connection.execute(delete(table).where(tuple_(table.c.trace_id, table.c.span_id).in_(chunk)))

    def load_traces(self, trace_ids: Iterable[bytes]) -> RecordBatch:
        """Return all that the store holds of some traces, as their sources said it, decisions left out.

        What is decided about them stays true until the transaction ends: nobody else writes to them before.
        """
        wanted = set(trace_ids)
        self._writer.lock_traces(wanted)
        return load_traces(self.connection, wanted)

    def known_trace_ids(self, trace_ids: Iterable[bytes]) -> set[bytes]:
        """Return those of some traces of which the store holds a span, as of now until the transaction ends."""
        wanted = set(trace_ids)
        self._writer.lock_traces(wanted)
        column = tables.SPANS.c.trace_id
        return {row[0] for row in rows_with(self.connection, select(column).distinct(), column, sorted(wanted))}

    def fit_into_thinned(self, batch: RecordBatch, trace_ids: Iterable[bytes]) -> tuple[RecordBatch, int]:
        """Return a batch without the spans that sampling took out of these traces before, and their number."""
        return fit_in(self.connection, batch, trace_ids)

    def load_prefixes(self, keys: Iterable[Key]) -> dict[Key, PrefixChain]:
        """Return the prefix chains of the calls that have one."""
        at = [list(tables.INFERENCES.c).index(column) for column in _PREFIX_COLUMNS]
        placed = {
            (row[0], row[1]): tuple(row[place] for place in at) for row in self._rows(tables.INFERENCES, list(keys))
        }
        reader = SegmentReader(self.connection)
        reader.load(segment_id for segment_id, _ in placed.values() if segment_id is not None)
        found = {}
        for key, (segment_id, blocks) in placed.items():
            chain = reader.expand(segment_id, blocks) if segment_id is not None and blocks else None
            if chain is not None:
                found[key] = chain
        return found

    def linked_trace_ids(self, session_ids: Iterable[str]) -> list[bytes]:
        """Return the traces that hold a span of any of these sessions."""
        query, wanted = select(tables.SPANS.c.trace_id).distinct(), sorted(set(session_ids))
        return sorted({row[0] for row in rows_with(self.connection, query, tables.SPANS.c.session_id, wanted)})

    def joined_trace_ids(self, batch: RecordBatch) -> set[bytes]:
        """Return the traces that span links join to those of a batch within its sessions, over other traces too."""
        sessions = {span.session_id for span in batch.spans if span.session_id}
        linking = tables.SPANS.c.links.is_not(None)
        has_links = select(tables.SPANS.c.trace_id).where(linking).limit(1)
        if not sessions or not (
            any(span.links for span in batch.spans) or self.connection.scalars(has_links).first() is not None
        ):
            return set()
        touched = {span.trace_id for span in batch.spans}
        neighbours: dict[bytes, set[bytes]] = {trace_id: set() for trace_id in self.linked_trace_ids(sessions)}
        neighbours.update((trace_id, set()) for trace_id in touched)
        links = {(span.trace_id, link.trace_id) for span in batch.spans for link in span.links}
        query = select(tables.SPANS.c.trace_id, tables.SPANS.c.links).where(linking)
        for trace_id, text in rows_with(self.connection, query, tables.SPANS.c.trace_id, sorted(neighbours)):
            links.update((trace_id, link.trace_id) for link in load_links(text))
        for one, other in links:
            if other in neighbours:
                neighbours[one].add(other)
                neighbours[other].add(one)
        found, ahead = set(touched), list(touched)
        while ahead:
            new = neighbours[ahead.pop()] - found
            found |= new
            ahead.extend(new)
        return found

    def apply(self, decisions: Decisions) -> None:
        """Write what was decided about whole traces; runs of theirs that are no more are removed."""
        self._write_runs(decisions)
        self._writer.update(tables.SPANS, ["run_id"], [(run_id, *key) for key, run_id in decisions.run_ids.items()])
        self._writer.update(
            tables.INFERENCES,
            ["billable", "merged_into", "reasons", "agent_name", "depends_on"],
            [
                (
                    call.billable,
                    call.merged_into,
                    dump_reasons(call.reasons),
                    call.agent_name,
                    dump_dependencies(call.depends_on),
                    call.trace_id,
                    call.span_id,
                )
                for call in decisions.inferences
            ],
            fallbacks={"depends_on": "source_depends_on"},
        )
        self._writer.update(
            tables.TOOL_CALLS,
            ["merged_into", "reasons", "agent_name"],
            [
                (tool.merged_into, dump_reasons(tool.reasons), tool.agent_name, tool.trace_id, tool.span_id)
                for tool in decisions.tool_calls
            ],
        )

    def _write_runs(self, decisions: Decisions) -> None:
        traces = {trace_id for trace_id, _ in decisions.run_ids} | {run.trace_id for run in decisions.runs}
        self._remove_runs(traces, {run.run_id for run in decisions.runs})
        self._writer.upsert(tables.RUNS, [run_row(run) for run in decisions.runs])

    def note_entries(self, entry_ids: Sequence[bytes]) -> set[bytes]:
        """Remember that journal entries were written with this transaction; return those that were not before.

        One sidecar alone reads a journal, so that nobody else notes its entries meanwhile.
        """
        column = tables.JOURNAL_ENTRIES.c.entry_id
        new = set(entry_ids) - {row[0] for row in rows_with(self.connection, select(column), column, entry_ids)}
        now_ns = time.time_ns()
        noted = self._writer.insert_new(tables.JOURNAL_ENTRIES, [(entry_id, now_ns) for entry_id in sorted(new)])
        if noted != len(new):
            raise RuntimeError("journal entries were noted by another sidecar meanwhile")
        return new

    def forget_entries(self, before_ns: int) -> None:
        """Forget the journal entries committed before a time; their journal no longer holds them."""
        column = tables.JOURNAL_ENTRIES.c.committed_ns
        self.connection.execute(delete(tables.JOURNAL_ENTRIES).where(column < before_ns))

    def _write_resources(self, batch: RecordBatch) -> None:
        # spans of one request share theirs: told apart by identity first, which costs no look inside
        shared = {id(span.resource): span.resource for span in batch.spans}
        shared |= {id(sample.resource): sample.resource for sample in batch.serving_samples}
        rows = [resource_row(resource) for resource in set(shared.values()) if resource is not None]
        self._writer.insert_new(tables.RESOURCES, rows)

    def _write_inferences(self, calls: Sequence[Inference], decisions: Decisions) -> tuple[int, int]:
        placed: dict[Key, tuple[bytes | None, int | None]] = {}
        decided = {(decision.trace_id, decision.span_id): decision for decision in decisions.inferences}

        def row_of(key: Key, call: Inference) -> Row:
            if call.prefix is not None and key not in placed:
                placed[key] = self._segments.place(call.prefix)
            return inference_row(call, *placed.get(key, (None, None)), decided.get(key))

        def load(rows: Sequence[Any]) -> dict[Key, Inference]:
            # a stored chain is not expanded to be compared: where it is, and how long, says enough
            for row in rows:
                known, new = row.prefix_blocks or 0, placed.get((row[0], row[1]), (None, 0))[1] or 0
                if row.prefix_segment is not None and known >= new:
                    placed[row[0], row[1]] = (row.prefix_segment, row.prefix_blocks)
            return {(row[0], row[1]): inference_of(row, decided=False) for row in rows}

        result = self._write_keyed(tables.INFERENCES, calls, row_of, load, merge_inferences)
        self._writer.insert_new(tables.PREFIX_SEGMENTS, self._segments.take_rows())
        return result

    def _write_tool_calls(self, calls: Sequence[ToolCall], decisions: Decisions) -> tuple[int, int]:
        decided = {(decision.trace_id, decision.span_id): decision for decision in decisions.tool_calls}

        def row_of(key: Key, call: ToolCall) -> Row:
            return tool_call_row(call, decided.get(key))

        return self._write_keyed(tables.TOOL_CALLS, calls, row_of, _load_tool_calls, merge_tool_calls)

    def _write_keyed(
        self,
        table: Table,
        records: Sequence[Record],
        row_of: Callable[[Key, Record], Row],
        load: Callable[[Sequence[Any]], dict[Key, Record]],
        merge: Callable[[Record, Record], Record],
    ) -> tuple[int, int]:
        """Insert records and merge those that are there; return (inserted, enriched)."""
        unique = {(record.trace_id, record.span_id): record for record in records}
        if len(unique) < len(records):
            unique = _merged(records, merge)
        written = list(map(row_of, unique.keys(), unique.values()))
        inserted = self._writer.insert_new(table, written)
        if inserted == len(written):
            return inserted, 0
        rows = dict(zip(unique, written, strict=True))
        said = SAID_BY_SOURCES[table.name]
        stored = {
            (row[0], row[1]): row for row in self._rows(table, list(rows)) if said(row) != said(rows[row[0], row[1]])
        }
        changed = []
        for key, known in load(list(stored.values())).items():
            merged = row_of(key, merge(known, unique[key]))
            if said(merged) != said(stored[key]):
                changed.append(merged)
        self._writer.upsert(table, changed)
        return inserted, len(changed)

    def _rows(self, table: Table, keys: Sequence[Key]) -> Iterable[Any]:
        return rows_with(self.connection, select(*table.columns), tuple_(table.c.trace_id, table.c.span_id), keys)

    def _load_spans(self, rows: Sequence[Any]) -> dict[Key, Span]:
        return {(span.trace_id, span.span_id): span for span in load_spans(self.connection, rows, decided=False)}

    def _write_numbered(self, table: Table, rows: list[Row]) -> int:
        inserted = self._writer.insert_new(table, rows)
        if inserted < len(rows):
            self._writer.upsert(table, rows)
        return inserted

    def _write_samples(self, samples: Sequence[ServingSample]) -> int:
        # a gauge that reads NaN says that there is no reading
        rows = {row[0]: row for row in (sample_row(sample) for sample in samples if not isnan(sample.value))}
        return self._writer.insert_new(tables.SERVING_SAMPLES, list(rows.values()))

    def _remove_runs(self, traces: set[bytes], kept: set[str]) -> None:
        known = rows_with(self.connection, select(tables.RUNS.c.run_id), tables.RUNS.c.trace_id, sorted(traces))
        gone = [run_id for (run_id,) in known if run_id not in kept]
        for names in chunks(gone):
            self.connection.execute(delete(tables.RUNS).where(tables.RUNS.c.run_id.in_(names)))


def _merged(records: Iterable[Record], merge: Callable[[Record, Record], Record]) -> dict[Key, Record]:
    unique: dict[Key, Record] = {}
    for record in records:
        key = (record.trace_id, record.span_id)
        known = unique.get(key)
        unique[key] = record if known is None else merge(known, record)
    return unique


def _load_tool_calls(rows: Sequence[Any]) -> dict[Key, ToolCall]:
    return {(row[0], row[1]): tool_call_of(row, decided=False) for row in rows}
