"""Databases of others, read without a trace: an importer hands in their bytes, or where they lie, and gets rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote


def read_sqlite(content: bytes | Path, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield rows of a table of an SQLite database; columns that it lacks are None.

    Args:
        content: the whole database file, or its path where another program may be writing it: then what is in its
            write-ahead log is read too.
        table: name of the table.
        columns: names of the columns, in the order of the result.

    Raises:
        ValueError: it is no such database, or has no such table.
    """
    connection: sqlite3.Connection | None = None
    try:
        if isinstance(content, Path):
            connection = sqlite3.connect(f"file:{quote(str(content.absolute()))}?mode=ro", uri=True)
        else:
            connection = sqlite3.connect(":memory:")
            # a database in memory has no write-ahead log: bytes 18 and 19 of the header say that it needs none
            connection.deserialize(content[:18] + b"\x01\x01" + content[20:])
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(table)})")}
        if not known:
            raise ValueError(f"no table {table}")
        picked = ", ".join(_quoted(name) if name in known else "NULL" for name in columns)
        yield from connection.execute(f"SELECT {picked} FROM {_quoted(table)}")
    except (sqlite3.Error, OverflowError) as error:
        raise ValueError(str(error)) from error
    finally:
        if connection is not None:
            connection.close()


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
