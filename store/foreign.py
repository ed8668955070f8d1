"""Databases of others, read without a trace: an importer hands in their bytes and gets rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Any


def read_sqlite(content: bytes, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield rows of a table of an SQLite database given as bytes; columns that it lacks are None.

    Args:
        content: the whole database file.
        table: name of the table.
        columns: names of the columns, in the order of the result.

    Raises:
        ValueError: it is no such database, or has no such table.
    """
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(content)
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(table)})")}
        if not known:
            raise ValueError(f"no table {table}")
        picked = ", ".join(_quoted(name) if name in known else "NULL" for name in columns)
        yield from connection.execute(f"SELECT {picked} FROM {_quoted(table)}")
    except (sqlite3.Error, OverflowError) as error:
        raise ValueError(str(error)) from error
    finally:
        connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
