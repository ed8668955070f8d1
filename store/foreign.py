"""Databases of others, read without a trace: an importer hands in their bytes, or where they lie, and gets rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote


def read_sqlite(content: bytes | Path, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield rows of a table of an SQLite database; columns that it lacks are None.

    A database that nobody has open is read without locks: to lock one SQLite makes files beside it and leaves them.

    Args:
        content: the whole database file, or its path where another program may be writing it: then what is in its
            write-ahead log is read too.
        table: name of the table.
        columns: names of the columns, in the order of the result.

    Raises:
        ValueError: it is no such database, has no such table, or was opened by its program meanwhile.
    """
    connection: sqlite3.Connection | None = None
    resting = _resting_state(content) if isinstance(content, Path) else None
    try:
        if isinstance(content, Path):
            how = "mode=ro" if resting is None else "mode=ro&immutable=1"
            connection = sqlite3.connect(f"file:{quote(str(content.absolute()))}?{how}", uri=True)
        else:
            connection = sqlite3.connect(":memory:")
            # a database in memory has no write-ahead log: bytes 18 and 19 of the header say that it needs none
            connection.deserialize(content[:18] + b"\x01\x01" + content[20:])
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(table)})")}
        if not known:
            raise ValueError(f"no table {table}")
        picked = ", ".join(_quoted(name) if name in known else "NULL" for name in columns)
        yield from connection.execute(f"SELECT {picked} FROM {_quoted(table)}")
        if isinstance(content, Path) and resting is not None and _resting_state(content) != resting:
            raise ValueError("it was written to while it was read")
    except (sqlite3.Error, OverflowError) as error:
        raise ValueError(str(error)) from error
    finally:
        if connection is not None:
            connection.close()


def _resting_state(path: Path) -> tuple[int, int] | None:
    """Return size and time of the last write of a database that nobody writes; None where somebody does, or did."""
    try:
        if any(log.exists() and log.stat().st_size for log in (Path(f"{path}-wal"), Path(f"{path}-journal"))):
            return None
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
