"""Looking after a store: what it holds, copies of it, erasure."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select, tuple_, update
from sqlalchemy.engine import Connection

from inferometer.schema.errors import StoreError, UserError
from inferometer.schema.moments import EARLIEST_DATE_NS
from inferometer.store.chunks import chunks
from inferometer.store.database import Store
from inferometer.store.migration import HEAD, version_of
from inferometer.store.receipts import drop_receipts, hold_receipts
from inferometer.store.segments import HASH_BYTES
from inferometer.store.tables import (
    CHARGES,
    INFERENCES,
    METADATA,
    OUTCOMES,
    PREFIX_SEGMENTS,
    RESOURCES,
    RUNS,
    SERVING_SAMPLES,
    SPANS,
    THINNED_SPANS,
    TOOL_CALLS,
)

_OF_SPANS = (INFERENCES, TOOL_CALLS, CHARGES, OUTCOMES)


@dataclass(slots=True, frozen=True)
class StoreInfo:
    """What a store holds; times are nanoseconds since 1970."""

    store: str
    database: str
    revision: str | None
    newest_revision: str
    bytes: int | None
    rows: dict[str, int]
    first_ns: int | None
    last_ns: int | None
    open_runs: int
    sampled_spans: int
    dialects: dict[str, int] = field(default_factory=dict)
    normaliser_versions: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the ``store info`` document."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True, frozen=True)
class Erased:
    """What a purge removed."""

    runs: int = 0
    spans: int = 0
    inferences: int = 0
    tool_calls: int = 0
    charges: int = 0
    outcomes: int = 0
    serving_samples: int = 0
    prefix_segments: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the ``store purge`` document."""
        return {name: getattr(self, name) for name in self.__slots__}


def describe(store: Store) -> StoreInfo:
    """Return what a store holds."""
    with store.reading() as connection:
        rows = {name: _count(connection, select(func.count()).select_from(METADATA.tables[name])) for name in _NAMES}
        first, last = connection.execute(select(func.min(SPANS.c.start_ns), func.max(SPANS.c.start_ns))).one()
        dialects = select(SPANS.c.dialect, func.count()).group_by(SPANS.c.dialect)
        versions = select(SPANS.c.normaliser_version, func.count()).group_by(SPANS.c.normaliser_version)
        return StoreInfo(
            store=store.name,
            database=connection.dialect.name,
            revision=version_of(connection),
            newest_revision=HEAD,
            bytes=_bytes_of(store, connection),
            rows=rows,
            first_ns=first,
            last_ns=last,
            open_runs=_count(connection, select(func.count()).where(RUNS.c.is_open)),
            sampled_spans=_count(connection, select(func.count()).where(SPANS.c.weight > 1)),
            dialects={str(name or "unknown"): count for name, count in connection.execute(dialects)},
            normaliser_versions={str(version): count for version, count in connection.execute(versions)},
        )


_NAMES = (
    *("spans", "inferences", "tool_calls", "runs", "charges", "outcomes"),
    *("serving_samples", "resources", "prefix_segments"),
)


def _count(connection: Connection, query: Any) -> int:
    return int(connection.execute(query).scalar_one())


def _bytes_of(store: Store, connection: Connection) -> int | None:
    if connection.dialect.name == "sqlite":
        paths = [Path(f"{store.name}{suffix}") for suffix in ("", "-wal")]
        return sum(path.stat().st_size for path in paths if path.exists())
    names = ", ".join(f"pg_total_relation_size('{name}')" for name in METADATA.tables)
    return sum(int(size) for size in connection.exec_driver_sql(f"SELECT {names}").one())


def back_up(store: Store, target: str) -> int:
    """Copy an SQLite store, also while it is being written, into a new file of its owner's alone.

    Returns:
        The copy's size in bytes.

    Raises:
        StoreError: the target exists or cannot be written.
        UserError: the store is a server's, which has its own tool for this.
    """
    if store.engine.dialect.name != "sqlite":
        raise UserError("a PostgreSQL store is backed up by pg_dump, which knows its server")
    path = Path(target).expanduser().absolute()
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        raise StoreError(str(path), "is there already; a backup overwrites nothing") from None
    except OSError as error:
        raise StoreError(str(path), f"cannot be written: {(error.strerror or str(error)).lower()}") from error
    connection = store.engine.raw_connection()
    try:
        connection.cursor().execute("VACUUM INTO ?", (str(path),))
    except sqlite3.Error as error:
        path.unlink(missing_ok=True)
        raise StoreError(str(path), f"cannot be written: {error}") from error
    finally:
        connection.close()
    return path.stat().st_size


def purge(
    store: Store,
    *,
    users: Sequence[str] = (),
    sessions: Sequence[str] = (),
    runs: Sequence[str] = (),
    before_ns: int | None = None,
) -> Erased:
    """Erase whole runs, and spans outside of runs, that are of any of these or began before a time.

    What is erased is overwritten in the database file and in its log. Prefix blocks stay only where another call has
    the same prefix.

    Args:
        store: where.
        users: user ids as stored (hashed unless the sender opted in).
        sessions: session ids.
        runs: full run ids.
        before_ns: nanoseconds since 1970; serving samples before it go too. What has no date, as sessions that were
            recorded without a clock, began before no time and stays.
    """
    with store.transaction() as tx:
        connection = tx.connection
        hold_receipts(connection, alone=True)
        run_ids = _chosen_runs(connection, users, sessions, runs, before_ns)
        keys = _chosen_spans(connection, run_ids, users, sessions, before_ns)
        counts = _erase_spans(connection, keys)
        for chunk in chunks(run_ids):
            counts["runs"] += connection.execute(delete(RUNS).where(RUNS.c.run_id.in_(chunk))).rowcount
            connection.execute(delete(THINNED_SPANS).where(THINNED_SPANS.c.run_id.in_(chunk)))
        if before_ns is not None:
            gone = connection.execute(
                delete(SERVING_SAMPLES).where(_is_date_before(SERVING_SAMPLES.c.time_ns, before_ns))
            )
            counts["serving_samples"] = gone.rowcount
        counts["prefix_segments"] = drop_unused_segments(connection)
        _drop_unused_resources(connection)
        drop_receipts(connection)  # what is erased here comes back where its file is imported again
    _overwrite_log(store)
    return Erased(**counts)


def _chosen_runs(
    connection: Connection, users: Sequence[str], sessions: Sequence[str], runs: Sequence[str], before_ns: int | None
) -> list[str]:
    conditions: list[ColumnElement[bool]] = []
    if users:
        conditions += [RUNS.c.user_id.in_(users), RUNS.c.run_id.in_(_runs_with(SPANS.c.user_id, users))]
    if sessions:
        conditions += [RUNS.c.session_id.in_(sessions), RUNS.c.run_id.in_(_runs_with(SPANS.c.session_id, sessions))]
    if runs:
        conditions.append(RUNS.c.run_id.in_(runs))
    if before_ns is not None:
        conditions.append(_is_date_before(RUNS.c.start_ns, before_ns))
    if not conditions:
        raise UserError("say what to erase: --user, --session, --run or --before")
    return list(connection.scalars(select(RUNS.c.run_id).where(or_(*conditions)).order_by(RUNS.c.run_id)))


def _is_date_before(column: ColumnElement[int], before_ns: int) -> ColumnElement[bool]:
    return and_(column >= EARLIEST_DATE_NS, column < before_ns)


def _runs_with(column: ColumnElement[Any], values: Sequence[str]) -> Any:
    return select(SPANS.c.run_id).where(column.in_(values), SPANS.c.run_id.is_not(None))


def _chosen_spans(
    connection: Connection,
    run_ids: list[str],
    users: Sequence[str],
    sessions: Sequence[str],
    before_ns: int | None,
) -> list[tuple[bytes, bytes]]:
    keys: dict[tuple[bytes, bytes], None] = {}

    def choose(condition: ColumnElement[bool]) -> None:
        query = select(SPANS.c.trace_id, SPANS.c.span_id).where(condition)
        keys.update(dict.fromkeys((trace_id, span_id) for trace_id, span_id in connection.execute(query)))

    for chunk in chunks(run_ids):
        choose(SPANS.c.run_id.in_(chunk))
    if users:
        choose(SPANS.c.user_id.in_(users))
    if sessions:
        choose(SPANS.c.session_id.in_(sessions))
    if before_ns is not None:
        known = select(RUNS.c.run_id)
        outside = or_(SPANS.c.run_id.is_(None), SPANS.c.run_id.not_in(known))
        choose(and_(_is_date_before(SPANS.c.start_ns, before_ns), outside))
    return list(keys)


def _erase_spans(connection: Connection, keys: list[tuple[bytes, bytes]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for table in (*_OF_SPANS, SPANS):
        for chunk in chunks(keys):
            found = tuple_(table.c.trace_id, table.c.span_id).in_(chunk)
            counts[table.name] += connection.execute(delete(table).where(found)).rowcount
    return counts


def drop_unused_segments(connection: Connection) -> int:
    """Delete the prefix segments that no call and no other segment needs, and cut the rest to what is needed."""
    table = PREFIX_SEGMENTS
    parents = table.alias("parents")
    dropped = 0
    while True:
        used = select(INFERENCES.c.prefix_segment).where(INFERENCES.c.prefix_segment.is_not(None))
        needed = select(parents.c.parent_id).where(parents.c.parent_id.is_not(None))
        gone = connection.execute(
            delete(table).where(table.c.segment_id.not_in(used), table.c.segment_id.not_in(needed))
        )
        if gone.rowcount == 0:
            break
        dropped += gone.rowcount
    _cut_segments(connection)
    return dropped


def _cut_segments(connection: Connection) -> None:
    """Cut the tails of segments that only erased calls had: a hash of content is as much theirs as its count."""
    table = PREFIX_SEGMENTS
    ends: Counter[bytes] = Counter()
    by_calls = select(INFERENCES.c.prefix_segment, func.max(INFERENCES.c.prefix_blocks)).where(
        INFERENCES.c.prefix_segment.is_not(None)
    )
    by_children = select(table.c.parent_id, func.max(table.c.position)).where(table.c.parent_id.is_not(None))
    for query in (by_calls.group_by(INFERENCES.c.prefix_segment), by_children.group_by(table.c.parent_id)):
        for segment_id, end in connection.execute(query):
            ends[segment_id] = max(ends[segment_id], end or 0)
    sizes = select(table.c.segment_id, table.c.position, func.length(table.c.hashes))
    for segment_id, position, size in connection.execute(sizes).all():
        needed = (ends[segment_id] - position) * HASH_BYTES
        if 0 < needed < size:
            hashes = connection.execute(select(table.c.hashes).where(table.c.segment_id == segment_id)).scalar_one()
            cut = update(table).where(table.c.segment_id == segment_id).values(hashes=hashes[:needed])
            connection.execute(cut)


def _drop_unused_resources(connection: Connection) -> None:
    used = [select(table.c.resource_id).where(table.c.resource_id.is_not(None)) for table in (SPANS, SERVING_SAMPLES)]
    connection.execute(delete(RESOURCES).where(*(RESOURCES.c.resource_id.not_in(query) for query in used)))


def _overwrite_log(store: Store) -> None:
    if store.engine.dialect.name != "sqlite":
        return
    connection = store.engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def all_trace_ids(store: Store) -> list[bytes]:
    """Return the ids of all traces."""
    with store.reading() as connection:
        return list(connection.scalars(select(SPANS.c.trace_id).distinct().order_by(SPANS.c.trace_id)))
