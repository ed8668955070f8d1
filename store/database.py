"""The store: opened once, read by selection, written in transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from sqlalchemy import Engine, select
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from inferometer.schema.errors import StoreError, UnknownNameError, UserError
from inferometer.schema.records import Charge, Outcome, Run, ServingSample, Span
from inferometer.schema.rows import InferenceRow, Placement, SpanOutline, ToolCallRow
from inferometer.schema.selection import Selection
from inferometer.store import queries, search
from inferometer.store.loading import load_spans
from inferometer.store.location import WRITING, connect, locate, name_of
from inferometer.store.migration import migrate
from inferometer.store.rows import run_of
from inferometer.store.search import Found
from inferometer.store.tables import RUNS, SPANS
from inferometer.store.transaction import Transaction


def open_store(url: str | None = None, *, create: bool = True) -> Store:
    """Open a store, creating or upgrading it where needed.

    Args:
        url: a database URL or the path of an SQLite file; None for ``INFEROMETER_STORE``, else the user's own store.
        create: make the store where there is none; who only reads would look at zeros there.

    Raises:
        StoreError: it cannot be opened, is none and may not become one, or a newer version wrote it; nothing was
            written then.
        MissingExtraError: the database's driver is not installed.
    """
    located = locate(url)
    engine, created = connect(located, create=create)
    name = name_of(located)
    try:
        with _errors_named(name, "cannot be opened"):
            before = migrate(engine, name, create=create)
    except BaseException:
        engine.dispose()
        if created:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{located.database}{suffix}").unlink(missing_ok=True)
        raise
    return Store(engine, name, before)


class Store:
    """All records of all traces; a context manager, safe to use from several threads."""

    def __init__(self, engine: Engine, name: str, revision_before: str | None) -> None:
        self.engine = engine
        self.name = name
        self.revision_before = revision_before

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; closing twice is harmless."""
        self.engine.dispose()

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Begin to write; everything is committed at the end of the block, or nothing if it raises."""
        with (
            _errors_named(self.name, "cannot be written"),
            self.engine.connect().execution_options(**WRITING) as connection,
            connection.begin(),
        ):
            yield Transaction(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read in one consistent view."""
        with _errors_named(self.name, "cannot be read"), self.engine.connect() as connection:
            yield connection

    def inferences(
        self, selection: Selection | None = None, *, billable_only: bool = True, with_prefix: bool = False
    ) -> Iterator[InferenceRow]:
        """Yield the selected inferences in order of their start.

        Args:
            selection: window and equalities; everything where None.
            billable_only: leave out roll-ups, twins and whatever else was merged into another call.
            with_prefix: expand the prefix chains.
        """
        with self.reading() as connection:
            yield from queries.read_inferences(
                connection, selection or Selection(), billable_only=billable_only, with_prefix=with_prefix
            )

    def tool_calls(self, selection: Selection | None = None) -> Iterator[ToolCallRow]:
        """Yield the selected tool calls in order of their start; those with ``merged_into`` are views of others."""
        with self.reading() as connection:
            yield from queries.read_tool_calls(connection, selection or Selection())

    def runs(self, selection: Selection | None = None) -> list[Run]:
        """Return the selected runs in order of their start."""
        with self.reading() as connection:
            return queries.read_runs(connection, selection or Selection())

    def latest_runs(self, selection: Selection, limit: int) -> list[Run]:
        """Return the selected runs that began last, at most so many, the latest first."""
        with self.reading() as connection:
            return queries.read_latest_runs(connection, selection, limit)

    def count_runs(self, selection: Selection) -> tuple[int, int]:
        """Return the number of selected runs, and of those among them that are open."""
        with self.reading() as connection:
            return queries.count_runs(connection, selection)

    def search_runs(self, text: str, limit: int) -> Found:
        """Return the latest runs that a text is found in, at most so many, from a bounded part of the store."""
        with self.reading() as connection:
            return search.search_runs(connection, text, limit)

    def count_run_spans(self, run_ids: Sequence[str]) -> dict[str, int]:
        """Return the number of spans of each of a few runs."""
        with self.reading() as connection:
            return search.count_run_spans(connection, run_ids)

    def count_spans(self, since_ns: int, until_ns: int, width_ns: int) -> dict[int, int]:
        """Return the number of spans that began in each stretch of ``width_ns``, by its number since 1970."""
        with self.reading() as connection:
            return queries.count_spans(connection, since_ns, until_ns, width_ns)

    def spans_of_run(self, run_id: str) -> list[Span]:
        """Return the spans of a run in order of their start."""
        query = select(*SPANS.columns).where(SPANS.c.run_id == run_id).order_by(SPANS.c.start_ns, SPANS.c.span_id)
        with self.reading() as connection:
            return load_spans(connection, connection.execute(query).all(), decided=True)

    def outlines_of_runs(self, run_ids: Iterable[str]) -> dict[str, list[SpanOutline]]:
        """Return the outlines of the spans of runs, by run, in order of their start."""
        with self.reading() as connection:
            return queries.read_outlines(connection, run_ids)

    def find_run(self, prefix: str) -> Run:
        """Return the run whose id begins with a text.

        Raises:
            UnknownNameError: there is none.
            UserError: there are several.
        """
        found = RUNS.c.run_id.startswith(prefix.lower(), autoescape=True)
        with self.reading() as connection:
            rows = list(connection.execute(select(*RUNS.columns).where(found).order_by(RUNS.c.run_id).limit(4)))
            if not rows:
                raise UnknownNameError("run", prefix, connection.scalars(select(RUNS.c.run_id).limit(10_000)))
        if len(rows) > 1:
            ids = ", ".join(row.run_id for row in rows[:3])
            raise UserError(f"several runs begin with {prefix!r}: {ids}{' ...' if len(rows) > 3 else ''}")
        return run_of(rows[0])

    def charges(self, selection: Selection | None = None) -> list[Charge]:
        """Return the charges on selected spans."""
        with self.reading() as connection:
            return queries.read_charges(connection, selection or Selection())

    def placed_charges(self, selection: Selection | None = None) -> Iterator[tuple[Charge, Placement]]:
        """Yield the charges on selected spans, with their placement."""
        with self.reading() as connection:
            yield from queries.read_placed_charges(connection, selection or Selection())

    def attribute_values(
        self, selection: Selection | None, name: str, *, roots_only: bool = False
    ) -> dict[tuple[bytes, bytes], str]:
        """Return, by (trace_id, span_id), an attribute's value: the span's own, its resource's, or its run's root's.

        Args:
            selection: which spans; all where None.
            name: of the attribute.
            roots_only: only of the spans that are the root of a run.
        """
        with self.reading() as connection:
            return queries.read_attribute_values(connection, selection or Selection(), name, roots_only=roots_only)

    def outcomes(self, selection: Selection | None = None) -> list[Outcome]:
        """Return the outcomes on selected spans."""
        with self.reading() as connection:
            return queries.read_outcomes(connection, selection or Selection())

    def serving_samples(self, selection: Selection | None = None) -> list[ServingSample]:
        """Return the serving samples of the selection's window in order of time."""
        with self.reading() as connection:
            return queries.read_serving_samples(connection, selection or Selection())


@contextmanager
def _errors_named(name: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if (
            not isinstance(error, (SQLAlchemyError, sqlite3.Error))
            and type(error).__module__.split(".")[0] != "psycopg"
        ):
            raise
        cause = getattr(error, "orig", None) or error
        reason = " ".join(str(cause).split())
        raise StoreError(name, f"{what}: {reason}") from error
