"""SQLite: `exec_driver_sql` with tuples, which costs no more than the driver's own `executemany`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Table

from inferometer.store.writers.base import BulkWriter, Row, clean_rows, columns_of, key_of

_PLAIN: dict[type, type] = {bytes: bytearray, bool: int}
"""What the driver binds at once in place of what it asks its adapters about first, a quarter of a microsecond each."""


@lru_cache(maxsize=512)
def _insert_sql(table: Table, columns: tuple[str, ...]) -> str:
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) "
        f"ON CONFLICT ({', '.join(key_of(table))}) DO "
    )


@lru_cache(maxsize=64)
def _replacement(table: Table) -> str:
    others = [name for name in columns_of(table) if name not in key_of(table)]
    if not others:
        return "NOTHING"
    changes = ", ".join(f"{name} = excluded.{name}" for name in others)
    differs = " OR ".join(f"{table.name}.{name} IS NOT excluded.{name}" for name in others)
    return f"UPDATE SET {changes} WHERE {differs}"


@lru_cache(maxsize=64)
def _update_sql(table: Table, columns: tuple[str, ...], fallbacks: tuple[tuple[str, str], ...]) -> str:
    # each value is bound twice: the driver of some versions of Python takes the `?1` that would name it for a mistake
    values = dict.fromkeys(columns, "?") | {name: f"coalesce(?, {other})" for name, other in fallbacks}
    changes = ", ".join(f"{name} = {value}" for name, value in values.items())
    found = " AND ".join(f"{name} = ?" for name in key_of(table))
    differs = " OR ".join(f"{name} IS NOT {value}" for name, value in values.items())
    return f"UPDATE {table.name} SET {changes} WHERE {found} AND ({differs})"


class SqliteWriter(BulkWriter):
    """Writes through the driver's `executemany`."""

    def insert_new(self, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is not there yet and return their number."""
        return self._insert(table, rows, "NOTHING")

    def upsert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, or replace the ones of the same key where anything differs."""
        self._insert(table, rows, _replacement(table))

    def update(
        self, table: Table, columns: Sequence[str], rows: Sequence[Row], fallbacks: Mapping[str, str] | None = None
    ) -> None:
        """Set columns of existing rows where anything differs; rows end with the key."""
        if rows:
            sql = _update_sql(table, tuple(columns), tuple((fallbacks or {}).items()))
            bound = [_bindable(values) for values in zip(*rows, strict=True)]
            self._execute(sql, list(zip(*bound, *bound[: len(columns)], strict=True)))

    def _insert(self, table: Table, rows: Sequence[Row], conflict: str) -> int:
        if not rows:
            return 0
        # most columns of most batches are unknown throughout, and one that is left out is NULL all the same
        filled = {
            name: _bindable(values)
            for name, values in zip(columns_of(table), zip(*rows, strict=True), strict=True)
            if values[0] is not None or values.count(None) != len(values)
        }
        sql = _insert_sql(table, tuple(filled)) + conflict
        return self._execute(sql, list(zip(*filled.values(), strict=True)))

    def _execute(self, sql: str, rows: list[Row]) -> int:
        changes = "SELECT total_changes()"
        before = self.connection.exec_driver_sql(changes).scalar_one()
        try:
            self.connection.exec_driver_sql(sql, rows)
        except (UnicodeEncodeError, OverflowError):
            # rare enough that every batch need not pay for looking; what was written already is met again unchanged
            self.connection.exec_driver_sql(sql, clean_rows(rows))
        return int(self.connection.exec_driver_sql(changes).scalar_one()) - int(before)


def _bindable(values: tuple[Any, ...]) -> Sequence[Any]:
    """Return the values of one column as the driver binds them without asking."""
    plain = next((_PLAIN.get(type(value)) for value in values if value is not None), None)
    if plain is None:
        return values
    return [None if value is None else plain(value) for value in values]
