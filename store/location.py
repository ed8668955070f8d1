"""Where a store lies and how a connection to it behaves."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine import Connection
from sqlalchemy.exc import ArgumentError

from inferometer.schema.errors import MissingExtraError, StoreError

BUSY_TIMEOUT_MS = 60_000
"""How long a writer waits for another; SQLite lets one write at a time."""

NONE_YET = (
    "there is none yet; `inferometer import PATH`, `inferometer run -- CMD` or inferometer.configure() in a program "
    "makes it, and `inferometer demo` shows what comes of it"
)

NO_FILE = "names no file, and a store has to outlive the command; give a path such as traces.sqlite"

PAGE_BYTES = 8192
"""Of new stores; half as many pages as SQLite's own choice would make take a third less time to commit."""

WAL_FOLD_BYTES = 16 * 1024 * 1024
"""Size of the write-ahead log at which SQLite folds it into the file: pages that change often are folded once."""

WRITING = {"inferometer_writing": True}
"""Execution options of a connection whose transaction takes the write lock at its beginning."""


def user_data_directory() -> Path:
    """Return the user's folder for Inferometer's data; it may not exist yet."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "inferometer"
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "inferometer"


def locate(url: str | None) -> URL:
    """Return the database URL of a store.

    Args:
        url: a database URL or the path of an SQLite file; None for ``INFEROMETER_STORE``, else the user's own store.

    Raises:
        StoreError: the URL cannot be read, or no writer knows its database.
    """
    text = url or os.environ.get("INFEROMETER_STORE") or str(user_data_directory() / "store.sqlite")
    if text == ":memory:":
        raise StoreError(text, NO_FILE)
    if "://" not in text:
        return URL.create("sqlite", database=str(Path(text).expanduser().absolute()))
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(text.partition("://")[0] + "://...", "is not a database URL or a path") from error
    kind = parsed.get_backend_name()
    if kind in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise StoreError(name_of(parsed), f"no writer for {kind!r}; use an SQLite file or a postgresql:// URL")
    if not parsed.database or parsed.database == ":memory:":
        raise StoreError(text, NO_FILE)
    return parsed.set(drivername="sqlite", database=str(Path(parsed.database).expanduser().absolute()))


def name_of(url: URL) -> str:
    """Return the URL as it may be shown: a file's path, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.render_as_string(hide_password=True)


def connect(url: URL, *, create: bool) -> tuple[Engine, bool]:
    """Return an engine on a store and whether its file was created for it (0600).

    Raises:
        StoreError: the folder or file cannot be used, or is missing and may not be created.
        MissingExtraError: the driver is not installed.
    """
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url, pool_pre_ping=True), False
        except ModuleNotFoundError as error:
            raise MissingExtraError("a PostgreSQL store", "postgres", str(error.name)) from error
    path = Path(str(url.database))
    created = _find_file(path, create=create)
    if not create and is_unchangeable(path):
        url = url.set(database=f"file:{quote(str(path))}", query={"immutable": "1", "uri": "true"})
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000, "isolation_level": None})
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine, created


def _find_file(path: Path, *, create: bool) -> bool:
    """Return whether the file had to be created."""
    try:
        if create:
            if path.parent == user_data_directory():
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            return True
        path.stat()
    except FileExistsError:
        pass
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not create:
            raise StoreError(str(path), NONE_YET) from None
        raise StoreError(str(path), f"cannot be opened: {(error.strerror or str(error)).lower()}") from error
    if not path.is_file():
        raise StoreError(str(path), "is not a file")
    return False


def is_unchangeable(path: Path) -> bool:
    """Return whether a store can only be read and has no log beside it; SQLite has to be told, for want of locks."""
    return not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)) and not Path(f"{path}-wal").exists()


def _set_pragmas(connection: Any, _: Any) -> None:
    # FULL: what was acknowledged survives a power cut; it costs a flush a commit and no processor time
    cursor = connection.cursor()
    for pragma in (
        f"page_size={PAGE_BYTES}",
        "synchronous=FULL",
        "secure_delete=ON",
        "temp_store=MEMORY",
        f"wal_autocheckpoint={WAL_FOLD_BYTES // PAGE_BYTES}",
        "cache_size=-16384",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def use_write_ahead_log(engine: Engine) -> None:
    """Let readers go on while one writes; the mode stays in the file, so the file must be known to be ours."""
    if engine.dialect.name != "sqlite" or "immutable" in engine.url.query:
        return
    connection = engine.raw_connection()
    try:
        connection.cursor().execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()


def _begin(connection: Connection) -> None:
    # a deferred transaction that turns into a writing one cannot wait for another writer, it fails at once
    writing = connection.get_execution_options().get("inferometer_writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
