"""Bringing a store to the version of the code, with alembic; nothing is written where that is not possible."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine, inspect, text
from sqlalchemy.engine import Connection

from inferometer.schema.errors import StoreError
from inferometer.store.location import NONE_YET, WRITING, use_write_ahead_log
from inferometer.store.tables import METADATA, VERSION_TABLE

HEAD = "0004"
"""The revision this code reads and writes; a test holds it to the newest file of ``migrations/versions``."""

_LOCK_ID = 0x1F_E0_6E_7E
"""Of the advisory lock that keeps two processes from migrating one PostgreSQL store at once."""


def version_of(connection: Connection) -> str | None:
    """Return a store's revision; None where it holds none of our tables.

    Raises:
        LookupError: tables of ours' names are there without a version: the database is something else's.
    """
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        if found is not None:
            return str(found)
    if tables & set(METADATA.tables) or (connection.dialect.name == "sqlite" and tables - {VERSION_TABLE}):
        raise LookupError
    return None


def migrate(engine: Engine, name: str, *, create: bool) -> str | None:
    """Upgrade a store to `HEAD` in one transaction.

    Args:
        engine: on the database.
        name: the store's, for errors.
        create: make the tables where there are none.

    Returns:
        The revision it had before; None for a new one.

    Raises:
        StoreError: the database is not a store and may not become one, is one of a newer version, or of an older one
            that can only be read.
    """
    with engine.connect() as connection:
        found = _known_version(connection, name)
    if found is None and not create:
        raise StoreError(name, NONE_YET)
    if found != HEAD and "immutable" in engine.url.query:
        reason = (
            f"is at revision {found}, this version reads {HEAD}, and it cannot be written here; upgrade a copy of it"
        )
        raise StoreError(name, reason)
    use_write_ahead_log(engine)
    if found == HEAD:
        return found
    with engine.connect().execution_options(**WRITING) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK_ID})"))
        if _known_version(connection, name) != HEAD:
            _upgrade(connection)
    return found


def _known_version(connection: Connection, name: str) -> str | None:
    try:
        found = version_of(connection)
    except LookupError:
        raise StoreError(name, "is a database of something else, not a store of Inferometer's") from None
    if found is not None and found > HEAD:
        raise StoreError(name, f"was written by a newer Inferometer (revision {found}, this one knows {HEAD}); upgrade")
    return found


def _upgrade(connection: Connection) -> None:
    with _quiet_log():
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Keep alembic's account of its work out of the log of the program we run in, unless that has asked for it."""
    log = logging.getLogger("alembic")
    level = log.level
    if level == logging.NOTSET:
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
