"""Whole traces back out of the store, as their sources said them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.engine import Connection

from inferometer.schema.records import RecordBatch, Resource, Span
from inferometer.store import tables
from inferometer.store.call_rows import inference_of, tool_call_of
from inferometer.store.chunks import rows_with
from inferometer.store.rows import charge_of, outcome_of, resource_of, span_of


def load_traces(connection: Connection, trace_ids: Iterable[bytes]) -> RecordBatch:
    """Return all records of some traces without decisions and without prefix chains; spans in order of their start."""
    wanted = sorted(set(trace_ids))

    def rows_of(table: Table) -> Iterator[Any]:
        return rows_with(connection, select(*table.columns), table.c.trace_id, wanted)

    batch = RecordBatch()
    batch.spans = load_spans(connection, list(rows_of(tables.SPANS)), decided=False)
    batch.spans.sort(key=lambda span: (span.trace_id, span.start_ns or 0, span.span_id))
    batch.inferences = [inference_of(row, decided=False) for row in rows_of(tables.INFERENCES)]
    batch.tool_calls = [tool_call_of(row, decided=False) for row in rows_of(tables.TOOL_CALLS)]
    batch.charges = [charge_of(row) for row in rows_of(tables.CHARGES)]
    batch.outcomes = [outcome_of(row) for row in rows_of(tables.OUTCOMES)]
    return batch


def load_spans(connection: Connection, rows: Sequence[Any], *, decided: bool) -> list[Span]:
    """Return the records of ``spans`` rows with their resources; see `span_of` for ``decided``."""
    resources = load_resources(connection, {row.resource_id for row in rows})
    return [span_of(row, resources.get(row.resource_id), decided=decided) for row in rows]


def load_resources(connection: Connection, resource_ids: Iterable[bytes | None]) -> dict[bytes, Resource]:
    """Return resources by their ids."""
    wanted = sorted(resource_id for resource_id in set(resource_ids) if resource_id is not None)
    table = tables.RESOURCES
    rows = rows_with(connection, select(*table.columns), table.c.resource_id, wanted)
    return {row[0]: resource_of(row) for row in rows}
