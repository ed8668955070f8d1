"""Searching runs by a text: a look that takes no longer however much the store holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import exists, func, or_, select
from sqlalchemy.engine import Connection

from inferometer.schema.records import Run
from inferometer.store.rows import run_of
from inferometer.store.tables import INFERENCES, RUNS, SPANS

SEARCHED_SPANS = 100_000

_TEXTS = ("run_id", "name", "agent_name", "session_id", "user_id", "service", "source")


@dataclass(slots=True, frozen=True)
class Found:
    """Runs that a text was found in, the latest first.

    Attributes:
        runs: at most as many as were asked for.
        is_cut: whether there are more of them among those that were looked through.
        since_ns: only runs that began at this time or later were looked through; None where all were.
    """

    runs: list[Run]
    is_cut: bool
    since_ns: int | None


def search_runs(connection: Connection, text: str, limit: int) -> Found:
    """Return the runs whose id, name, agent, session, user, service, source or a model holds a text, in any case.

    The runs of the latest `SEARCHED_SPANS` spans are looked through: to look at each run's calls for a model costs two
    look-ups a span, some 0.15 s in all. Beyond ASCII, SQLite tells cases apart.
    """
    horizon = select(SPANS.c.start_ns).where(SPANS.c.start_ns.is_not(None)).order_by(SPANS.c.start_ns.desc())
    since_ns = connection.scalar(horizon.offset(SEARCHED_SPANS).limit(1))
    has_model = exists().where(
        SPANS.c.run_id == RUNS.c.run_id,
        INFERENCES.c.trace_id == SPANS.c.trace_id,
        INFERENCES.c.span_id == SPANS.c.span_id,
        or_(*(INFERENCES.c[name].icontains(text, autoescape=True) for name in ("request_model", "response_model"))),
    )
    query = select(*RUNS.columns).where(
        or_(*(RUNS.c[name].icontains(text, autoescape=True) for name in _TEXTS), has_model)
    )
    if since_ns is not None:
        query = query.where(RUNS.c.start_ns >= since_ns)
    query = query.order_by(RUNS.c.start_ns.desc().nulls_last(), RUNS.c.run_id).limit(limit + 1)
    runs = [run_of(row) for row in connection.execute(query)]
    return Found(runs[:limit], len(runs) > limit, since_ns)


def count_run_spans(connection: Connection, run_ids: Sequence[str]) -> dict[str, int]:
    """Return the number of spans of each run, from the index alone."""
    query = select(SPANS.c.run_id, func.count()).where(SPANS.c.run_id.in_(run_ids)).group_by(SPANS.c.run_id)
    return dict.fromkeys(run_ids, 0) | {run_id: int(spans) for run_id, spans in connection.execute(query)}
