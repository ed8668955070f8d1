"""The journal: raw requests on disk before they are acknowledged, until every consumer has passed them.

::

    entries     seq | received_ns signal encoding compression items end_offset body
    cursors     consumer | seq end_offset         where each consumer stands; an entry all have passed is deleted
    quarantine  quarantine_id | ... reason body   what a consumer could not take, kept for inspection and retry
    meta        key | value                       journal_id and small state of the sidecar

A SQLite file of its own in WAL mode with ``synchronous=FULL``: what `append` returned from is on disk. ``end_offset``
is the number of body bytes ever appended up to and with the entry, so that a backlog is a difference of two integers.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inferometer.schema.errors import StoreError

APPLICATION_ID = 0x494E464A
SCHEMA_VERSION = 1
STORE_CONSUMER = "store"
BUSY_TIMEOUT_MS = 10_000
PAGE_BYTES = 16384
WAL_FOLD_BYTES = 4000 * PAGE_BYTES
"""Size of the write-ahead log at which SQLite folds it into the file."""
WAL_LIMIT_BYTES = 2 * WAL_FOLD_BYTES

Execute = Callable[..., sqlite3.Cursor]

_SCHEMA = """
CREATE TABLE entries (
  seq INTEGER PRIMARY KEY, received_ns INTEGER NOT NULL, signal TEXT NOT NULL, encoding TEXT NOT NULL,
  compression TEXT NOT NULL, items INTEGER NOT NULL, end_offset INTEGER NOT NULL, body BLOB NOT NULL);
CREATE TABLE cursors (consumer TEXT PRIMARY KEY, seq INTEGER NOT NULL, end_offset INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE quarantine (
  quarantine_id INTEGER PRIMARY KEY AUTOINCREMENT, entry_id BLOB NOT NULL, consumer TEXT NOT NULL,
  received_ns INTEGER NOT NULL, quarantined_ns INTEGER NOT NULL, signal TEXT NOT NULL, encoding TEXT NOT NULL,
  compression TEXT NOT NULL, items INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB);
CREATE UNIQUE INDEX quarantine_by_entry ON quarantine (consumer, entry_id);
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(slots=True)
class NewEntry:
    """One request about to be journalled; ``body`` is as sent, still compressed by ``compression``."""

    signal: str
    encoding: str
    compression: str
    items: int
    body: bytes
    received_ns: int


@dataclass(slots=True, frozen=True)
class Entry:
    """One journalled request."""

    seq: int
    entry_id: bytes
    received_ns: int
    signal: str
    encoding: str
    compression: str
    items: int
    end_offset: int
    body: bytes


@dataclass(slots=True, frozen=True)
class Quarantined:
    """One request that a consumer could not take; ``body`` is None where its content may not be kept."""

    quarantine_id: int
    entry_id: bytes
    consumer: str
    received_ns: int
    quarantined_ns: int
    signal: str
    encoding: str
    compression: str
    items: int
    reason: str
    body: bytes | None


@dataclass(slots=True, frozen=True)
class Backlog:
    """What a consumer has not passed yet."""

    entries: int
    bytes: int
    oldest_received_ns: int | None


class JournalLock:
    """An exclusive lock beside the journal, held by one sidecar and inherited by its normaliser.

    Raises:
        StoreError: another sidecar holds it for longer than ``wait_s``.
    """

    def __init__(self, journal: Path, wait_s: float = 5.0) -> None:
        self.path = journal.with_name(journal.name + ".lock")
        try:
            self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(str(journal), f"cannot be locked ({error.strerror})") from error
        deadline = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() >= deadline:
                    os.close(self.fd)
                    reason = "another sidecar is using this journal; stop it, or give this one its own --store"
                    raise StoreError(str(journal), reason) from error
                time.sleep(0.05)

    def release(self) -> None:
        """Let another sidecar have the journal."""
        os.close(self.fd)


class Journal:
    """One connection to a journal file; its methods may be called from any thread, one at a time.

    Args:
        path: the file; created with mode 0600 where it is absent.

    Raises:
        StoreError: the file is not a journal, comes from a newer version, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except OSError as error:
            raise StoreError(str(path), f"journal cannot be opened ({error.strerror})") from error
        except sqlite3.Error as error:
            raise StoreError(str(path), f"journal cannot be opened ({error})") from error

    def _prepare(self) -> None:
        run = self._connection.execute
        run(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        application = run("PRAGMA application_id").fetchone()[0]
        version = run("PRAGMA user_version").fetchone()[0]
        has_tables = run("SELECT count(*) FROM sqlite_master").fetchone()[0] > 0
        if has_tables and application != APPLICATION_ID:
            raise StoreError(str(self.path), "is not a journal; choose another file")
        if version > SCHEMA_VERSION:
            raise StoreError(str(self.path), f"journal is of a newer version ({version}); upgrade inferometer")
        if not has_tables:
            run(f"PRAGMA page_size={PAGE_BYTES}")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA secure_delete=ON")
        run(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
        run(f"PRAGMA wal_autocheckpoint={WAL_FOLD_BYTES // PAGE_BYTES}")
        if not has_tables:
            self._create()
        self.journal_id: bytes = run("SELECT value FROM meta WHERE key='journal_id'").fetchone()[0]

    def _create(self) -> None:
        with self._transaction() as run:
            if run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return
            for statement in filter(str.strip, _SCHEMA.split(";")):
                run(statement)
            run("INSERT INTO meta VALUES ('journal_id', ?)", (secrets.token_bytes(8),))
            run("INSERT INTO cursors VALUES (?, 0, 0)", (STORE_CONSUMER,))
            run(f"PRAGMA application_id={APPLICATION_ID}")
            run(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _tail(self) -> tuple[int, int]:
        # the cursors know the end too, for when every entry has been deleted
        row = self._connection.execute(
            "SELECT max(seq), max(end_offset) FROM (SELECT seq, end_offset FROM cursors UNION ALL "
            "SELECT * FROM (SELECT seq, end_offset FROM entries ORDER BY seq DESC LIMIT 1))"
        ).fetchone()
        return row[0] or 0, row[1] or 0

    @contextmanager
    def _transaction(self) -> Iterator[Execute]:
        with self._lock, self._errors_named("cannot be written"):
            run = self._connection.execute
            run("BEGIN IMMEDIATE")
            try:
                yield run
                run("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    run("ROLLBACK")
                raise

    @contextmanager
    def _reading(self) -> Iterator[Execute]:
        with self._lock, self._errors_named("cannot be read"):
            yield self._connection.execute

    @contextmanager
    def _errors_named(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(str(self.path), f"journal {what} ({error})") from error

    def close(self) -> None:
        """Close the connection; SQLite empties the WAL where this was the last one."""
        with self._lock:
            self._connection.close()

    def pragma(self, name: str) -> object:
        """Return the value of one SQLite setting of this connection."""
        with self._reading() as run:
            return run(f"PRAGMA {name}").fetchone()[0]

    def append(self, entries: Sequence[NewEntry]) -> None:
        """Write entries in one transaction; on return they survive a crash and a loss of power.

        Raises:
            StoreError: the disk is full or the file cannot be written; nothing of these entries was kept.
        """
        with self._transaction():
            # read here and not kept, so that a retry of quarantined requests may append from another process
            seq, offset = self._tail()
            rows = []
            for entry in entries:
                seq += 1
                offset += len(entry.body)
                head = (seq, entry.received_ns, entry.signal, entry.encoding, entry.compression, entry.items)
                rows.append((*head, offset, entry.body))
            self._connection.executemany("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?)", rows)

    def backlog_bytes(self) -> int:
        """Return body bytes that some consumer has not passed; cheap enough to ask before every append."""
        with self._reading() as run:
            slowest = run("SELECT min(end_offset) FROM cursors").fetchone()[0]
            return self._tail()[1] - int(slowest)

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log, which has to be folded into the file before it is emptied."""
        try:
            return Path(f"{self.path}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    # Consuming.

    def add_consumer(self, consumer: str, *, from_start: bool = False) -> None:
        """Register a consumer where it is new: at the end of the journal, or before its oldest entry."""
        with self._transaction() as run:
            seq, offset = self._tail()
            if from_start:
                first = run("SELECT seq, end_offset - length(body) FROM entries ORDER BY seq LIMIT 1").fetchone()
                if first is not None:
                    seq, offset = first[0] - 1, first[1]
            run("INSERT INTO cursors VALUES (?,?,?) ON CONFLICT DO NOTHING", (consumer, seq, offset))

    def consumers(self) -> list[str]:
        """Return the names of all consumers."""
        with self._reading() as run:
            return [row[0] for row in run("SELECT consumer FROM cursors ORDER BY consumer")]

    def remove_consumer(self, consumer: str) -> None:
        """Forget a consumer, and delete what only it was waiting for."""
        with self._transaction() as run:
            run("DELETE FROM cursors WHERE consumer=?", (consumer,))
            _delete_passed(run)

    def read(self, consumer: str, *, max_items: int, max_bytes: int) -> list[Entry]:
        """Return the oldest entries that a consumer has not passed: at least one where there is any."""
        with self._reading() as run:
            position = run("SELECT seq, end_offset FROM cursors WHERE consumer=?", (consumer,)).fetchone()
            if position is None:
                return []
            sizes = run(
                "SELECT seq, items, end_offset FROM entries WHERE seq>? ORDER BY seq LIMIT 512", (position[0],)
            ).fetchall()
            last, items = 0, 0
            for seq, count, end_offset in sizes:
                items += count
                if last and (items > max_items or end_offset - position[1] > max_bytes):
                    break
                last = seq
            if not last:
                return []
            rows = run(
                "SELECT seq, received_ns, signal, encoding, compression, items, end_offset, body FROM entries "
                "WHERE seq>? AND seq<=? ORDER BY seq",
                (position[0], last),
            ).fetchall()
        return [Entry(row[0], self.entry_id(row[0]), *row[1:]) for row in rows]

    def entry_id(self, seq: int) -> bytes:
        """Return the sixteen bytes that name an entry in any store: this journal's id and the number."""
        return self.journal_id + seq.to_bytes(8, "big")

    def advance(self, consumer: str, entry: Entry) -> None:
        """Move a consumer past an entry, and delete the entries that all have passed."""
        with self._transaction() as run:
            _advance(run, consumer, entry)

    def quarantine(self, consumer: str, entry: Entry, reason: str, body: bytes | None) -> None:
        """Set an entry aside and move the consumer past it, in one transaction.

        Args:
            body: what may be kept of the request, uncompressed; None where nothing may.
        """
        with self._transaction() as run:
            run(
                "INSERT INTO quarantine (entry_id, consumer, received_ns, quarantined_ns, signal, encoding,"
                " compression, items, reason, body) VALUES (?,?,?,?,?,?,'identity',?,?,?) ON CONFLICT DO NOTHING",
                (
                    *(entry.entry_id, consumer, entry.received_ns, time.time_ns()),
                    *(entry.signal, entry.encoding, entry.items, reason[:2000], body),
                ),
            )
            _advance(run, consumer, entry)

    def backlog(self, consumer: str) -> Backlog:
        """Return what a consumer has not passed yet."""
        with self._reading() as run:
            position = run("SELECT seq, end_offset FROM cursors WHERE consumer=?", (consumer,)).fetchone()
            if position is None:
                return Backlog(0, 0, None)
            count, end_offset = run(
                "SELECT count(*), max(end_offset) FROM entries WHERE seq>?", (position[0],)
            ).fetchone()
            if not count:
                return Backlog(0, 0, None)
            oldest = run("SELECT received_ns FROM entries WHERE seq>? ORDER BY seq LIMIT 1", (position[0],)).fetchone()
        return Backlog(count, end_offset - position[1], oldest[0])

    def truncate_wal(self) -> None:
        """Empty the WAL file, so that what was deleted is in no file; does nothing while another reads."""
        with self._reading() as run:
            run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    # Quarantine.

    def quarantined(self, consumer: str | None = None, limit: int = 1000) -> list[Quarantined]:
        """Return what was set aside, oldest first."""
        where, values = ("WHERE consumer=?", (consumer,)) if consumer else ("", ())
        with self._reading() as run:
            rows = run(
                f"SELECT quarantine_id, entry_id, consumer, received_ns, quarantined_ns, signal, encoding, compression,"
                f" items, reason, body FROM quarantine {where} ORDER BY quarantine_id LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [Quarantined(*row) for row in rows]

    def count_quarantined(self) -> dict[str, int]:
        """Return the number of requests set aside, by consumer."""
        with self._reading() as run:
            rows = run("SELECT consumer, count(*) FROM quarantine GROUP BY consumer").fetchall()
        return {row[0]: row[1] for row in rows}

    def requeue(self, quarantine_ids: Sequence[int]) -> int:
        """Append requests of the store's quarantine again as new entries, and take them out of it.

        Returns:
            How many were requeued; those without a body cannot be.
        """
        done = 0
        with self._transaction() as run:
            seq, offset = self._tail()
            for quarantine_id in quarantine_ids:
                row = run(
                    "SELECT received_ns, signal, encoding, compression, items, body FROM quarantine "
                    "WHERE quarantine_id=? AND consumer=? AND body IS NOT NULL",
                    (quarantine_id, STORE_CONSUMER),
                ).fetchone()
                if row is None:
                    continue
                seq, offset, done = seq + 1, offset + len(row[5]), done + 1
                run("INSERT INTO entries VALUES (?,?,?,?,?,?,?,?)", (seq, *row[:5], offset, row[5]))
                run("DELETE FROM quarantine WHERE quarantine_id=?", (quarantine_id,))
        return done

    def purge_quarantine(self, before_ns: int) -> int:
        """Delete what was set aside before a time; returns how many."""
        with self._transaction() as run:
            return int(run("DELETE FROM quarantine WHERE quarantined_ns<?", (before_ns,)).rowcount)

    # Small state.

    def get_state(self, key: str) -> str | None:
        """Return a small value kept with the journal."""
        with self._reading() as run:
            row = run("SELECT value FROM meta WHERE key=?", ("state." + key,)).fetchone()
        return None if row is None else str(row[0])

    def set_state(self, key: str, value: str) -> None:
        """Keep a small value with the journal."""
        with self._transaction() as run:
            run(
                "INSERT INTO meta VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value=excluded.value",
                ("state." + key, value),
            )


def _advance(run: Execute, consumer: str, entry: Entry) -> None:
    run(
        "UPDATE cursors SET seq=?, end_offset=? WHERE consumer=? AND seq<?",
        (entry.seq, entry.end_offset, consumer, entry.seq),
    )
    _delete_passed(run)


def _delete_passed(run: Execute) -> None:
    run("DELETE FROM entries WHERE seq <= (SELECT min(seq) FROM cursors)")
