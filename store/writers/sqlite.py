"""SQLite: `exec_driver_sql` with tuples, which costs no more than the driver's own `executemany`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from sqlalchemy import Table

from inferometer.store.writers.base import BulkWriter, Row, clean_rows, columns_of, key_of


@lru_cache(maxsize=64)
def _insert_sql(table: Table) -> str:
    columns = columns_of(table)
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({', '.join(key_of(table))}) DO "
    )


@lru_cache(maxsize=64)
def _upsert_sql(table: Table) -> str:
    key = key_of(table)
    others = [name for name in columns_of(table) if name not in key]
    if not others:
        return _insert_sql(table) + "NOTHING"
    changes = ", ".join(f"{name} = excluded.{name}" for name in others)
    differs = " OR ".join(f"{table.name}.{name} IS NOT excluded.{name}" for name in others)
    return _insert_sql(table) + f"UPDATE SET {changes} WHERE {differs}"


@lru_cache(maxsize=64)
def _update_sql(table: Table, columns: tuple[str, ...], fallbacks: tuple[tuple[str, str], ...]) -> str:
    values = {name: f"?{number}" for number, name in enumerate(columns, 1)}
    for name, other in fallbacks:
        values[name] = f"coalesce({values[name]}, {other})"
    changes = ", ".join(f"{name} = {value}" for name, value in values.items())
    found = " AND ".join(f"{name} = ?{number}" for number, name in enumerate(key_of(table), len(columns) + 1))
    differs = " OR ".join(f"{name} IS NOT {value}" for name, value in values.items())
    return f"UPDATE {table.name} SET {changes} WHERE {found} AND ({differs})"


class SqliteWriter(BulkWriter):
    """Writes through the driver's `executemany`."""

    def insert_new(self, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is not there yet and return their number."""
        return self._execute(_insert_sql(table) + "NOTHING", rows)

    def upsert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, or replace the ones of the same key where anything differs."""
        self._execute(_upsert_sql(table), rows)

    def update(
        self, table: Table, columns: Sequence[str], rows: Sequence[Row], fallbacks: Mapping[str, str] | None = None
    ) -> None:
        """Set columns of existing rows where anything differs; rows end with the key."""
        self._execute(_update_sql(table, tuple(columns), tuple((fallbacks or {}).items())), rows)

    def _execute(self, sql: str, rows: Sequence[Row]) -> int:
        if not rows:
            return 0
        changes = "SELECT total_changes()"
        before = self.connection.exec_driver_sql(changes).scalar_one()
        try:
            self.connection.exec_driver_sql(sql, rows if isinstance(rows, list) else list(rows))
        except (UnicodeEncodeError, OverflowError):
            # rare enough that every batch need not pay for looking; what was written already is met again unchanged
            self.connection.exec_driver_sql(sql, clean_rows(rows))
        return int(self.connection.exec_driver_sql(changes).scalar_one()) - int(before)
