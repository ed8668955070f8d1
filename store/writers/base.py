"""What a bulk writer does."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Table
from sqlalchemy.engine import Connection

from inferometer.store.encoding import clean_value

Row = tuple[Any, ...]


def key_of(table: Table) -> tuple[str, ...]:
    """Return the names of the columns that identify a row of a table."""
    if table.primary_key.columns:
        return tuple(column.name for column in table.primary_key.columns)
    unique = next(index for index in table.indexes if index.unique)
    return tuple(column.name for column in unique.columns)


def columns_of(table: Table) -> tuple[str, ...]:
    """Return the names of a table's columns in the order that rows have."""
    return tuple(column.name for column in table.columns)


def clean_rows(rows: Sequence[Row]) -> list[Row]:
    """Return rows with every value one that the database takes."""
    return [tuple(map(clean_value, row)) for row in rows]


class BulkWriter(ABC):
    """Writes many rows at once into one table, inside the connection's transaction."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def lock_traces(self, trace_ids: Iterable[bytes]) -> None:  # noqa: B027
        """Keep other transactions from writing and deciding about traces until this one ends.

        Nothing to do where a database lets one write at a time.
        """

    @abstractmethod
    def insert_new(self, table: Table, rows: Sequence[Row]) -> int:
        """Insert the rows whose key is not there yet and return their number."""

    @abstractmethod
    def upsert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, or replace the ones of the same key where anything differs."""

    @abstractmethod
    def update(
        self, table: Table, columns: Sequence[str], rows: Sequence[Row], fallbacks: Mapping[str, str] | None = None
    ) -> None:
        """Set columns of existing rows where anything differs.

        Args:
            table: the table.
            columns: names of what to set.
            rows: the values of ``columns``, then those of the table's key.
            fallbacks: by column, the one whose value it gets where the new one is None.
        """
