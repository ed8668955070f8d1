"""PostgreSQL: COPY into a temporary table, then one statement into the real one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg
from sqlalchemy import Table

from inferometer.store.writers.base import BulkWriter, Row, clean_rows, columns_of, key_of

_LOCK_CLASS = 0x1F_E0_6E
_LOCK_BUCKETS = 64
"""Locks that traces share: a server has room for some thousands, and an import may touch more traces than that."""


class PostgresqlWriter(BulkWriter):
    """Writes through psycopg's COPY; a stage lives as long as its transaction."""

    def insert_new(self, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is not there yet and return their number."""
        if not rows:
            return 0
        names, key = ", ".join(columns_of(table)), ", ".join(key_of(table))
        stage = self._fill_stage(table, columns_of(table), rows)
        # in order of the key, so that two writers wait for each other and never in a circle
        return self._run(
            f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {stage} ORDER BY {key}, stage_number "
            f"ON CONFLICT ({key}) DO NOTHING"
        )

    def upsert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, or replace the ones of the same key where anything differs."""
        if not rows:
            return
        columns, key = columns_of(table), key_of(table)
        others = [name for name in columns if name not in key]
        stage = self._fill_stage(table, columns, rows)
        names = ", ".join(columns)
        conflict = "NOTHING"
        if others:
            changes = ", ".join(f"{name} = excluded.{name}" for name in others)
            differs = " OR ".join(f"{table.name}.{name} IS DISTINCT FROM excluded.{name}" for name in others)
            conflict = f"UPDATE SET {changes} WHERE {differs}"
        # a statement may touch a row once: of several for one key, the last counts
        self._run(
            f"INSERT INTO {table.name} ({names}) "
            f"SELECT DISTINCT ON ({', '.join(key)}) {names} FROM {stage} ORDER BY {', '.join(key)}, stage_number DESC "
            f"ON CONFLICT ({', '.join(key)}) DO {conflict}"
        )

    def update(
        self, table: Table, columns: Sequence[str], rows: Sequence[Row], fallbacks: Mapping[str, str] | None = None
    ) -> None:
        """Set columns of existing rows where anything differs; rows end with the key."""
        if not rows:
            return
        key = key_of(table)
        stage = self._fill_stage(table, [*columns, *key], rows)
        values = {name: f"{stage}.{name}" for name in columns}
        for name, other in (fallbacks or {}).items():
            values[name] = f"coalesce({values[name]}, {table.name}.{other})"
        changes = ", ".join(f"{name} = {value}" for name, value in values.items())
        found = " AND ".join(f"{table.name}.{name} = {stage}.{name}" for name in key)
        differs = " OR ".join(f"{table.name}.{name} IS DISTINCT FROM {value}" for name, value in values.items())
        self._run(f"UPDATE {table.name} SET {changes} FROM {stage} WHERE {found} AND ({differs})")

    def lock_traces(self, trace_ids: Iterable[bytes]) -> None:
        """Wait until no other transaction that touches these traces is open."""
        buckets = sorted({int.from_bytes(trace_id[:8], "big") % _LOCK_BUCKETS for trace_id in trace_ids})
        for bucket in buckets:
            self._run(f"SELECT pg_advisory_xact_lock({_LOCK_CLASS}, {bucket})")

    def _cursor(self) -> Any:
        connection = self.connection.connection.driver_connection
        assert isinstance(connection, psycopg.Connection)
        return connection.cursor()

    def _run(self, sql: str) -> int:
        return int(self.connection.exec_driver_sql(sql).rowcount)

    def _fill_stage(self, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> str:
        stage = f"stage_{table.name}"
        types = [table.c[name].type.compile(self.connection.dialect) for name in columns]
        shape = ", ".join(f"{name} {kind}" for name, kind in zip(columns, types, strict=True))
        self._run(f"DROP TABLE IF EXISTS pg_temp.{stage}")
        self._run(f"CREATE TEMPORARY TABLE {stage} (stage_number SERIAL, {shape}) ON COMMIT DROP")
        self._run("SAVEPOINT stage_empty")
        try:
            self._copy(stage, columns, rows)
        except (psycopg.DataError, UnicodeEncodeError):
            # rare enough that every batch need not pay for looking
            self._run("ROLLBACK TO SAVEPOINT stage_empty")
            self._copy(stage, columns, clean_rows(rows))
        self._run("RELEASE SAVEPOINT stage_empty")
        return stage

    def _copy(self, stage: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        with self._cursor() as cursor, cursor.copy(f"COPY {stage} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
