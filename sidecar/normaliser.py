"""The normaliser: a process of its own that turns journal entries into records of the store.

One store transaction holds the records of a group of entries and the entries' ids, so that an entry that is read again
after a crash finds its id and is skipped: every span lands once. The parent speaks through the standard input, one word
a line (``wake``, ``stop``), and its end of file is the parent's death; reports go to the standard output as JSON lines.
"""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

from inferometer.ingest.commit import commit
from inferometer.schema.errors import StoreError, UserError
from inferometer.schema.records import RecordBatch
from inferometer.sidecar.burst import REST_S, Burst
from inferometer.sidecar.compression import decompress
from inferometer.sidecar.content import strip_request
from inferometer.sidecar.logs import configure_logging
from inferometer.sidecar.normaliser_settings import NormaliserSettings
from inferometer.sidecar.reading import REDUCED, merge_batches, read_entry
from inferometer.sidecar.upkeep import Upkeep
from inferometer.store import Store, WriteCounts, open_store
from inferometer.store.entry_log import Entry
from inferometer.store.journal import STORE_CONSUMER, Journal

MAX_GROUP_ITEMS = 4096
MAX_GROUP_BYTES = 8 * 1024 * 1024
IDLE_WAIT_S = 0.2
MAX_BACKOFF_S = 5.0
MAX_ATTEMPTS = 3
NICENESS = 10
GROUPS_PER_FULL_COLLECTION = 256
ATTEMPT_STATE = "normaliser.attempt"
ENTRY_MEMORY_NS = 3600 * 1_000_000_000

log = logging.getLogger("inferometer.sidecar")


class Normaliser:
    """Moves entries from a journal to a store.

    Args:
        store: where the records go.
        journal: a connection of its own.
        settings: what is kept.
        report: called with counts for the parent's metrics.
    """

    def __init__(
        self, store: Store, journal: Journal, settings: NormaliserSettings, report: Callable[[dict[str, Any]], None]
    ) -> None:
        self._store = store
        self._journal = journal
        self._settings = settings
        self._report = report
        self._last_forget = 0.0
        self._upkeep = Upkeep(store, journal, settings, report)
        self._careful_until = self._tail_seq() if settings.careful else 0

    def step(self) -> int:
        """Move one group of entries; returns its bytes, 0 where there is none.

        Raises:
            StoreError: the store is away; nothing was moved.
        """
        entries = self._journal.read(STORE_CONSUMER, max_items=MAX_GROUP_ITEMS, max_bytes=MAX_GROUP_BYTES)
        if not entries:
            return 0
        if entries[0].seq <= self._careful_until:
            entries = entries[:1]
            self._take_carefully(entries[0])
        else:
            self._take(entries)
        return sum(len(entry.body) for entry in entries)

    def _take(self, entries: list[Entry]) -> None:
        batches: list[RecordBatch] = []
        for position, entry in enumerate(entries):
            try:
                batches.append(self._read(entry))
            except Exception as error:
                # what came before is moved first, so that the cursor passes in order
                if position:
                    self._write(entries[:position], batches)
                self._set_aside(entry, error)
                return
        self._write(entries, batches)

    def _read(self, entry: Entry) -> RecordBatch:
        return read_entry(
            entry, limit_bytes=self._settings.max_request_bytes, keep_content=self._settings.content == "keep"
        )

    def _write(self, entries: list[Entry], batches: list[RecordBatch]) -> None:
        try:
            counts, repeated, warnings = self._commit(entries, batches)
        except Exception as error:
            if not self._store_works():
                raise error if isinstance(error, StoreError) else StoreError(self._store.name, repr(error)) from error
            if len(entries) == 1:
                self._set_aside(entries[0], error)
                return
            # one of them is poison: alone each shows whether it is the one
            log.warning("a group of requests cannot be stored; trying one by one", extra={"error": _name(error)})
            for entry, batch in zip(entries, batches, strict=True):
                self._write([entry], [batch])
            return
        self._journal.advance(STORE_CONSUMER, entries[-1])
        self._report(
            {
                "stored_spans_total": counts.spans,
                "stored_inferences_total": counts.inferences,
                "stored_tool_calls_total": counts.tool_calls,
                "duplicate_spans_total": counts.duplicates,
                "repeated_entries_total": repeated,
                "warnings": warnings,
            }
        )

    def _commit(self, entries: list[Entry], batches: list[RecordBatch]) -> tuple[WriteCounts, int, dict[str, int]]:
        with self._store.transaction() as tx:
            new = tx.note_entries([entry.entry_id for entry in entries])
            fresh = [batch for entry, batch in zip(entries, batches, strict=True) if entry.entry_id in new]
            batch = merge_batches(fresh)
            counts = commit(tx, batch) if batch else WriteCounts()
        return counts, len(entries) - len(fresh), dict(batch.warnings)

    def _take_carefully(self, entry: Entry) -> None:
        attempts = 1
        known = self._journal.get_state(ATTEMPT_STATE)
        if known:
            seq, _, count = known.partition(":")
            attempts = int(count) + 1 if int(seq) == entry.seq else 1
        if attempts > MAX_ATTEMPTS:
            self._set_aside(
                entry, RuntimeError(f"the normaliser ended {MAX_ATTEMPTS} times while it read this request")
            )
            return
        self._journal.set_state(ATTEMPT_STATE, f"{entry.seq}:{attempts}")
        self._take([entry])

    def _set_aside(self, entry: Entry, error: Exception) -> None:
        reason = _name(error)
        self._journal.quarantine(STORE_CONSUMER, entry, reason, self._keepable_body(entry))
        log.error("request set aside", extra={"seq": entry.seq, "signal": entry.signal, "error": reason})
        self._report({"quarantined_total": 1})

    def _keepable_body(self, entry: Entry) -> bytes | None:
        """Return what may stay of a request: as sent where content is kept, else stripped, else nothing."""
        if entry.encoding == REDUCED:
            return entry.body
        try:
            plain = decompress(entry.body, entry.compression, self._settings.max_request_bytes)
            if self._settings.content == "keep":
                return plain
            return strip_request(entry.signal, entry.encoding, plain)
        except Exception:
            return None

    def _store_works(self) -> bool:
        try:
            with self._store.transaction() as tx:
                tx.forget_entries(0)
        except Exception:
            return False
        return True

    def _tail_seq(self) -> int:
        entries = self._journal.backlog(STORE_CONSUMER).entries
        first = self._journal.read(STORE_CONSUMER, max_items=1, max_bytes=1)
        return first[0].seq + entries - 1 if first else 0

    def look_after(self) -> None:
        """Do the upkeep that is due; `StoreError` where the store is away."""
        self._upkeep.run_due()

    def rest(self) -> None:
        """Do what can wait for a quiet moment: forget old entry ids, wipe deleted bodies from the WAL."""
        self._journal.wipe()
        now = time.monotonic()
        if now - self._last_forget > 60:
            self._last_forget = now
            # entries are deleted right after their transaction; an hour covers every restart in between
            with self._store.transaction() as tx:
                tx.forget_entries(time.time_ns() - ENTRY_MEMORY_NS)


def _name(error: BaseException) -> str:
    # the text of a parser's error may quote the request, so only its kind is kept
    kind = type(error).__name__
    return f"{kind}: {error}" if isinstance(error, (UserError, RuntimeError)) else kind


class ParentLine:
    """The parent's words on the standard input, read by a thread of their own.

    Where the parent is gone the process ends at once, even while it waits for a store that another holds: what it was
    writing is rolled back and read again.
    """

    def __init__(self, stream: FileIO) -> None:
        self._stream = stream
        self._woken = threading.Event()
        self.is_stopping = False

    def read_line(self) -> bytes:
        """Return the first line; the words after it are heard once `listen` was called."""
        return self._stream.readline()

    def listen(self) -> None:
        """Begin to hear words."""
        threading.Thread(target=self._hear, name="inferometer-parent", daemon=True).start()

    def wait(self, timeout_s: float) -> None:
        """Wait for a word, at most so long."""
        self._woken.wait(timeout_s)
        self._woken.clear()

    def _hear(self) -> None:
        while word := self._stream.readline():
            if word == b"stop\n":
                self.is_stopping = True
            self._woken.set()
        os._exit(1)


def work(normaliser: Normaliser, burst: Burst, parent: ParentLine, report: Callable[[dict[str, Any]], None]) -> None:
    """Move entries until the parent stops us and the journal is empty."""
    backoff_s = 0.1
    is_rested = False
    groups = 0
    while True:
        try:
            if burst.is_on() and not parent.is_stopping:
                time.sleep(REST_S)
                continue
            began = time.monotonic()
            moved = normaliser.step()
            if moved:
                burst.note_group(moved, time.monotonic() - began)
                groups += 1
                # between two groups hardly anything is left to look at
                gc.collect(0 if groups % GROUPS_PER_FULL_COLLECTION else 2)
            normaliser.look_after()
            if not moved and not is_rested:
                normaliser.rest()
                is_rested = True
            backoff_s = 0.1
        except StoreError as error:
            log.warning("the store cannot be written; trying again", extra={"error": str(error), "wait_s": backoff_s})
            report({"store_failures_total": 1})
            if parent.is_stopping:
                return
            parent.wait(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
            continue
        if moved:
            is_rested = False
        elif parent.is_stopping:
            return
        else:
            parent.wait(IDLE_WAIT_S)


def give_way() -> None:
    """Let acknowledgements come first where both share a core: what is journalled can wait, a sender cannot."""
    os.nice(NICENESS)
    # a process in a session of its own may be weighed with that session alone, whatever its own niceness
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(NICENESS))


def main() -> int:
    """Run the normaliser; its settings are the first line of the standard input, as JSON."""
    # a terminal or a service manager signals the whole group, and the parent alone decides when all is drained
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    # unbuffered: a thread that reads a buffered stream holds its lock when the interpreter ends
    parent = ParentLine(open(sys.stdin.fileno(), "rb", buffering=0, closefd=False))  # noqa: SIM115 - for the whole life
    settings = NormaliserSettings(**json.loads(parent.read_line()))
    parent.listen()
    configure_logging(settings.log_format, settings.log_level)
    give_way()
    # records are trees without cycles: looking for some among them, while they are worked on, only costs time
    gc.freeze()
    gc.disable()

    def report(counts: dict[str, Any]) -> None:
        try:
            sys.stdout.write(json.dumps(counts) + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            pass  # the parent is gone; its end of the input tells us to stop

    backoff_s = 0.1
    while True:
        try:
            store = open_store(settings.store)
        except StoreError as error:
            log.warning("the store cannot be opened; trying again", extra={"error": str(error), "wait_s": backoff_s})
            report({"store_failures_total": 1})
            if parent.is_stopping:
                return 0
            parent.wait(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)
            continue
        with store:
            journal = Journal(Path(settings.journal))
            try:
                burst = Burst(journal, settings.max_journal_bytes // 2)
                work(Normaliser(store, journal, settings, report), burst, parent, report)
            finally:
                journal.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
