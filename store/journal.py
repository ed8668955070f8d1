"""The journal: raw requests on disk before they are acknowledged, until every consumer has passed them.

::

    <journal>.d/   the requests themselves, see `entry_log`
    cursors        consumer | seq end_offset         where each consumer stands; what all have passed is deleted
    quarantine     quarantine_id | ... reason body   what a consumer could not take, kept for inspection and retry
    meta           key | value                       small state of the sidecar

The tables are a SQLite file of their own in WAL mode with ``synchronous=FULL``. Requests are not among them: they are
written once, in order, and deleted in order, which append-only files do at a fraction of the cost.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inferometer.schema.errors import StoreError
from inferometer.store.entry_log import Entry, EntryLog
from inferometer.store.log_records import NewEntry

APPLICATION_ID = 0x494E464A
SCHEMA_VERSION = 2
STORE_CONSUMER = "store"
BUSY_TIMEOUT_MS = 10_000
WAL_LIMIT_BYTES = 16 * 1024 * 1024

Execute = Callable[..., sqlite3.Cursor]

_SCHEMA = """
CREATE TABLE cursors (consumer TEXT PRIMARY KEY, seq INTEGER NOT NULL, end_offset INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE quarantine (
  quarantine_id INTEGER PRIMARY KEY AUTOINCREMENT, entry_id BLOB NOT NULL, consumer TEXT NOT NULL,
  received_ns INTEGER NOT NULL, quarantined_ns INTEGER NOT NULL, signal TEXT NOT NULL, encoding TEXT NOT NULL,
  compression TEXT NOT NULL, items INTEGER NOT NULL, reason TEXT NOT NULL, body BLOB);
CREATE UNIQUE INDEX quarantine_by_entry ON quarantine (consumer, entry_id);
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


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


class Journal:
    """One connection to a journal file; its methods may be called from any thread, one at a time.

    Args:
        path: the file; created with mode 0600 where it is absent.

    Raises:
        StoreError: the file is not a journal, comes from a newer version, or cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._log = EntryLog(path.with_name(path.name + ".d"), self._furthest)
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
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA secure_delete=ON")
        run(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
        if not has_tables:
            self._create()
        elif version == 1:
            self._take_over()

    def _create(self) -> None:
        with self._transaction() as run:
            if run("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return
            for statement in filter(str.strip, _SCHEMA.split(";")):
                run(statement)
            run("INSERT INTO cursors VALUES (?, 0, 0)", (STORE_CONSUMER,))
            run(f"PRAGMA application_id={APPLICATION_ID}")
            run(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _take_over(self) -> None:
        """Move the entries of version 1, which were rows, into the log; they keep their numbers and their names."""
        with self._transaction() as run:
            if run("PRAGMA user_version").fetchone()[0] != 1:
                return  # another was faster
            (journal_id,) = run("SELECT value FROM meta WHERE key='journal_id'").fetchone()
            rows = run("SELECT signal, encoding, compression, items, body, received_ns, seq FROM entries ORDER BY seq")
            ends = self._log.adopt(((row[6], NewEntry(*row[:6])) for row in rows), journal_id)
            for consumer, seq in run("SELECT consumer, seq FROM cursors").fetchall():
                passed = [end for number, end in ends.items() if number <= seq]
                run("UPDATE cursors SET end_offset=? WHERE consumer=?", (max(passed, default=0), consumer))
            run("DROP TABLE entries")
            run("DELETE FROM meta WHERE key='journal_id'")
            run(f"PRAGMA user_version={SCHEMA_VERSION}")

    def _furthest(self) -> tuple[int, int]:
        """Return the furthest that a consumer has come."""
        with self._reading() as run:
            seq, offset = run("SELECT max(seq), max(end_offset) FROM cursors").fetchone()
        return seq or 0, offset or 0

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
        except OSError as error:
            raise StoreError(str(self.path), f"journal {what} ({error.strerror})") from error

    def close(self) -> None:
        """Close the connection; SQLite empties the WAL where this was the last one."""
        with self._lock:
            self._log.close()
            self._connection.close()

    def append(self, entries: Sequence[NewEntry]) -> None:
        """Write entries; on return they survive a crash and a loss of power.

        Raises:
            StoreError: the disk is full or the file cannot be written; nothing of these entries was kept.
        """
        with self._errors_named("cannot be written"):
            self._log.append(entries)

    def backlog_bytes(self) -> int:
        """Return bytes that some consumer has not passed; cheap enough to ask before every append."""
        with self._reading() as run:
            slowest = int(run("SELECT min(end_offset) FROM cursors").fetchone()[0])
        return self.end_offset() - slowest

    def end_offset(self) -> int:
        """Return where the next entry will begin, or a little before: what was appended between is a difference."""
        with self._errors_named("cannot be read"):
            return max(self._log.tail_offset(), self._furthest()[1])

    # Consuming.

    def add_consumer(self, consumer: str) -> None:
        """Register a consumer at the end of the journal where it is new."""
        with self._errors_named("cannot be read"):
            seq, offset = self._log.end()
        with self._transaction() as run:
            furthest = self._furthest()
            run(
                "INSERT INTO cursors VALUES (?,?,?) ON CONFLICT DO NOTHING",
                (consumer, max(seq, furthest[0]), max(offset, furthest[1])),
            )

    def consumers(self) -> list[str]:
        """Return the names of all consumers."""
        with self._reading() as run:
            return [row[0] for row in run("SELECT consumer FROM cursors ORDER BY consumer")]

    def remove_consumer(self, consumer: str) -> None:
        """Forget a consumer, and delete what only it was waiting for."""
        with self._transaction() as run:
            run("DELETE FROM cursors WHERE consumer=?", (consumer,))
        self._drop_passed()

    def read(self, consumer: str, *, max_items: int, max_bytes: int) -> list[Entry]:
        """Return the oldest entries that a consumer has not passed: at least one where there is any."""
        position = self._position(consumer)
        if position is None:
            return []
        with self._errors_named("cannot be read"):
            return self._log.read(position[1], max_items=max_items, max_bytes=max_bytes)

    def advance(self, consumer: str, entry: Entry) -> None:
        """Move a consumer past an entry, and delete what all have passed."""
        with self._transaction() as run:
            _advance(run, consumer, entry)
        self._drop_passed()

    def wipe(self) -> None:
        """Leave nothing of what all have passed in any file, but for a WAL that another reads."""
        with self._reading() as run:
            slowest = int(run("SELECT min(end_offset) FROM cursors").fetchone()[0])
            run("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        with self._errors_named("cannot be read"):
            self._log.drop_all(slowest)

    def _position(self, consumer: str) -> tuple[int, int] | None:
        with self._reading() as run:
            position: tuple[int, int] | None = run(
                "SELECT seq, end_offset FROM cursors WHERE consumer=?", (consumer,)
            ).fetchone()
        return position

    def _drop_passed(self) -> None:
        with self._reading() as run:
            slowest = int(run("SELECT min(end_offset) FROM cursors").fetchone()[0])
        with self._errors_named("cannot be written"):
            self._log.drop_before(slowest)

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
        self._drop_passed()

    def backlog(self, consumer: str) -> Backlog:
        """Return what a consumer has not passed yet."""
        position = self._position(consumer)
        if position is None:
            return Backlog(0, 0, None)
        with self._errors_named("cannot be read"):
            oldest = self._log.oldest_received_ns(position[1])
            if oldest is None:
                return Backlog(0, 0, None)
            return Backlog(self._log.tail_seq() - position[0], self._log.tail_offset() - position[1], oldest)

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
        # on disk again before they leave the quarantine: a crash in between repeats them, and their spans have names
        for quarantine_id in quarantine_ids:
            with self._reading() as run:
                row = run(
                    "SELECT signal, encoding, compression, items, body, received_ns FROM quarantine "
                    "WHERE quarantine_id=? AND consumer=? AND body IS NOT NULL",
                    (quarantine_id, STORE_CONSUMER),
                ).fetchone()
            if row is None:
                continue
            self.append([NewEntry(*row)])
            with self._transaction() as run:
                run("DELETE FROM quarantine WHERE quarantine_id=?", (quarantine_id,))
            done += 1
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
