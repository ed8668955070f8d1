"""Runs that have come to their end: which they are, and making one smaller without touching what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import replace

from sqlalchemy import and_, bindparam, delete, exists, insert, select, update
from sqlalchemy.engine import Connection

from inferometer.schema.ids import SPAN_ID_BYTES
from inferometer.schema.records import RecordBatch, SpanKind, Status
from inferometer.store.chunks import rows_with
from inferometer.store.tables import CHARGES, OUTCOMES, RUNS, SPANS, THINNED_SPANS

Key = tuple[bytes, bytes]

INNER_KINDS = (SpanKind.OTHER.value, SpanKind.STEP.value, SpanKind.RETRIEVAL.value, SpanKind.WORKFLOW.value)
"""Kinds of span that hold no meters of their own; agents, inferences and tools always stay."""


def close_ended_runs(connection: Connection, before_ns: int, limit: int) -> list[str]:
    """Mark open runs as closed whose root has ended and of which nothing ended after a time; return their ids.

    Nothing else about a run depends on the time at which it is decided, so its trace need not be looked at again.
    """
    root = and_(SPANS.c.trace_id == RUNS.c.trace_id, SPANS.c.span_id == RUNS.c.root_span_id)
    later = SPANS.alias("later")
    query = (
        select(RUNS.c.run_id)
        .join(SPANS, root)
        .where(
            RUNS.c.is_open.is_(True),
            SPANS.c.end_ns < before_ns,
            ~exists().where(later.c.run_id == RUNS.c.run_id, later.c.end_ns >= before_ns),
        )
        .order_by(SPANS.c.end_ns)
        .limit(limit)
    )
    run_ids = list(connection.scalars(query))
    if run_ids:
        connection.execute(update(RUNS).where(RUNS.c.run_id.in_(run_ids)).values(is_open=False))
    return run_ids


def has_failed(connection: Connection, run_id: str) -> bool:
    """Return whether a run or any span of it ended in an error."""
    query = select(SPANS.c.span_id).where(SPANS.c.run_id == run_id, SPANS.c.status == Status.ERROR.value).limit(1)
    return connection.execute(query).first() is not None


def thin_run(connection: Connection, run_id: str) -> int:
    """Delete a run's inner spans and the attributes of the others; returns how many spans went.

    What stays hangs under its nearest ancestor that stays, so that the tree means the same. The root stays, and so does
    whatever holds an inference, a tool call, an agent, a charge or an outcome.
    """
    table = SPANS.c
    rows = connection.execute(
        select(table.trace_id, table.span_id, table.parent_id, table.kind).where(table.run_id == run_id)
    ).all()
    root = connection.execute(select(RUNS.c.trace_id, RUNS.c.root_span_id).where(RUNS.c.run_id == run_id)).first()
    wanted = {tuple(root)} if root is not None else set()
    for other in (CHARGES.c, OUTCOMES.c):
        held = and_(other.trace_id == table.trace_id, other.span_id == table.span_id, table.run_id == run_id)
        wanted |= {tuple(row) for row in connection.execute(select(other.trace_id, other.span_id).where(held))}
    inner = {(row[0], row[1]): row[2] for row in rows if row[3] in INNER_KINDS and (row[0], row[1]) not in wanted}
    if inner:
        _remember(connection, run_id, inner)
        _hang_higher(connection, [tuple(row[:3]) for row in rows if (row[0], row[1]) not in inner], inner)
        key = and_(table.trace_id == bindparam("trace"), table.span_id == bindparam("span"))
        connection.execute(delete(SPANS).where(key), [{"trace": trace, "span": span} for trace, span in inner])
    connection.execute(update(SPANS).where(table.run_id == run_id).values(attributes=None))
    return len(inner)


def weigh_run(connection: Connection, run_id: str, factor: float) -> None:
    """Set the weight of a run's inner spans to that of its root times a factor: they stand for those of other runs.

    Inferences, tool calls and agents are kept of every run, so theirs is left alone.
    """
    root = and_(SPANS.c.trace_id == RUNS.c.trace_id, SPANS.c.span_id == RUNS.c.root_span_id)
    known = connection.execute(select(SPANS.c.weight).join(RUNS, root).where(RUNS.c.run_id == run_id)).scalar()
    inner = and_(SPANS.c.run_id == run_id, SPANS.c.kind.in_(INNER_KINDS))
    outside_root = SPANS.c.span_id.not_in(select(RUNS.c.root_span_id).where(RUNS.c.run_id == run_id))
    connection.execute(update(SPANS).where(inner, outside_root).values(weight=(known or 1.0) * factor))


def fit_in(connection: Connection, batch: RecordBatch, trace_ids: Iterable[bytes]) -> tuple[RecordBatch, int]:
    """Return a batch as it fits traces that were thinned, and how many of its spans had been taken out of them.

    A span that was taken out and comes again stays out, and what hangs under one hangs higher: else each would be the
    top of a run that never was.
    """
    inner = _recall(connection, trace_ids)
    if not inner:
        return batch, 0
    kept = [span for span in batch.spans if (span.trace_id, span.span_id) not in inner]
    fitting = copy(batch)
    fitting.spans = [
        replace(span, parent_id=above)
        if (above := _nearest_kept(span.trace_id, span.parent_id, inner)) != span.parent_id
        else span
        for span in kept
    ]
    return fitting, len(batch.spans) - len(kept)


def _remember(connection: Connection, run_id: str, inner: dict[Key, bytes | None]) -> None:
    table = THINNED_SPANS
    for trace_id in {trace_id for trace_id, _ in inner}:
        this = and_(table.c.trace_id == trace_id, table.c.run_id == run_id)
        before = connection.execute(select(table.c.spans).where(this)).scalar() or b""
        pairs = [
            span_id + (above or bytes(SPAN_ID_BYTES)) for (other, span_id), above in inner.items() if other == trace_id
        ]
        connection.execute(delete(table).where(this))
        connection.execute(insert(table).values(trace_id=trace_id, run_id=run_id, spans=before + b"".join(pairs)))


def _recall(connection: Connection, trace_ids: Iterable[bytes]) -> dict[Key, bytes | None]:
    inner: dict[Key, bytes | None] = {}
    table = THINNED_SPANS.c
    for trace_id, spans in rows_with(
        connection, select(table.trace_id, table.spans), table.trace_id, sorted(trace_ids)
    ):
        for at in range(0, len(spans), 2 * SPAN_ID_BYTES):
            above = spans[at + SPAN_ID_BYTES : at + 2 * SPAN_ID_BYTES]
            inner[trace_id, spans[at : at + SPAN_ID_BYTES]] = above if any(above) else None
    return inner


def _nearest_kept(trace_id: bytes, above: bytes | None, inner: Mapping[Key, bytes | None]) -> bytes | None:
    steps = 0
    while above is not None and (trace_id, above) in inner and steps <= len(inner):
        above, steps = inner[trace_id, above], steps + 1
    return above


def _hang_higher(
    connection: Connection, kept: list[tuple[bytes, bytes, bytes | None]], inner: Mapping[Key, bytes | None]
) -> None:
    moved = []
    for trace_id, span_id, parent_id in kept:
        above = _nearest_kept(trace_id, parent_id, inner)
        if above != parent_id:
            moved.append({"trace": trace_id, "span": span_id, "parent": above})
    if moved:
        key = and_(SPANS.c.trace_id == bindparam("trace"), SPANS.c.span_id == bindparam("span"))
        connection.execute(update(SPANS).where(key).values(parent_id=bindparam("parent")), moved)
