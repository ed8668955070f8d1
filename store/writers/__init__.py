"""One bulk writer per SQL dialect behind one interface; each writes tuples in the order of a table's columns."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from inferometer.store.writers.base import BulkWriter


def writer_for(connection: Connection) -> BulkWriter:
    """Return the fastest writer for the connection's database."""
    if connection.dialect.name == "postgresql":
        from inferometer.store.writers.postgresql import PostgresqlWriter

        return PostgresqlWriter(connection)
    from inferometer.store.writers.sqlite import SqliteWriter

    return SqliteWriter(connection)
