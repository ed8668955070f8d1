"""Whole traces back out of the store, as their sources said them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.engine import Connection

from inferometer.schema.records import RecordBatch, Resource
from inferometer.store import tables
from inferometer.store.rows import charge_of, inference_of, outcome_of, resource_of, span_of, tool_call_of

_CHUNK = 300


def load_traces(connection: Connection, trace_ids: Iterable[bytes]) -> RecordBatch:
    """Return all records of some traces without decisions and without prefix chains; spans in order of their start."""
    batch = RecordBatch()
    wanted = sorted(set(trace_ids))
    spans = list(_rows(connection, tables.SPANS, wanted))
    resources = load_resources(connection, {row.resource_id for row in spans})
    for row in spans:
        span = span_of(row, resources.get(row.resource_id))
        span.run_id = row.source_run_id
        batch.spans.append(span)
    batch.spans.sort(key=lambda span: (span.trace_id, span.start_ns or 0, span.span_id))
    batch.inferences = [inference_of(row, decided=False) for row in _rows(connection, tables.INFERENCES, wanted)]
    batch.tool_calls = [tool_call_of(row, decided=False) for row in _rows(connection, tables.TOOL_CALLS, wanted)]
    batch.charges = [charge_of(row) for row in _rows(connection, tables.CHARGES, wanted)]
    batch.outcomes = [outcome_of(row) for row in _rows(connection, tables.OUTCOMES, wanted)]
    return batch


def load_resources(connection: Connection, resource_ids: Iterable[bytes | None]) -> dict[bytes, Resource]:
    """Return resources by their ids."""
    wanted = sorted(resource_id for resource_id in set(resource_ids) if resource_id is not None)
    table = tables.RESOURCES
    found = {}
    for begin in range(0, len(wanted), _CHUNK):
        query = select(*table.columns).where(table.c.resource_id.in_(wanted[begin : begin + _CHUNK]))
        for row in connection.execute(query):
            found[row[0]] = resource_of(row)
    return found


def _rows(connection: Connection, table: Table, trace_ids: list[bytes]) -> Iterator[Any]:
    for begin in range(0, len(trace_ids), _CHUNK):
        chunk = trace_ids[begin : begin + _CHUNK]
        yield from connection.execute(select(*table.columns).where(table.c.trace_id.in_(chunk)))
