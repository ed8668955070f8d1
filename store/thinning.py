"""Runs that have come to their end: which they are, and making one smaller without touching what it cost."""

from __future__ import annotations

from sqlalchemy import and_, bindparam, delete, exists, select, update
from sqlalchemy.engine import Connection

from inferometer.schema.records import SpanKind, Status
from inferometer.store.tables import CHARGES, OUTCOMES, RUNS, SPANS

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


def _hang_higher(
    connection: Connection,
    kept: list[tuple[bytes, bytes, bytes | None]],
    inner: dict[tuple[bytes, bytes], bytes | None],
) -> None:
    moved = []
    for trace_id, span_id, parent_id in kept:
        above, steps = parent_id, 0
        while above is not None and (trace_id, above) in inner and steps <= len(inner):
            above, steps = inner[trace_id, above], steps + 1
        if above != parent_id:
            moved.append({"trace": trace_id, "span": span_id, "parent": above})
    if moved:
        key = and_(SPANS.c.trace_id == bindparam("trace"), SPANS.c.span_id == bindparam("span"))
        connection.execute(update(SPANS).where(key).values(parent_id=bindparam("parent")), moved)
