"""Passes everything on to one destination: its own place in the journal, its own retries, in order, nothing skipped."""

from __future__ import annotations

import gzip
import logging
import random
import threading
import time
from pathlib import Path

from inferometer.schema.errors import StoreError
from inferometer.sidecar.answer import JSON, PROTOBUF
from inferometer.sidecar.compression import IDENTITY, decompress
from inferometer.sidecar.content import strip_request
from inferometer.sidecar.counters import Counters
from inferometer.sidecar.reading import REDUCED, load_reduced
from inferometer.sidecar.sender import Parcel, Sender, open_sender
from inferometer.sidecar.settings import Forward, Settings
from inferometer.sidecar.transcoding import to_protobuf
from inferometer.store.entry_log import Entry
from inferometer.store.journal import Journal

FIRST_WAIT_S = 1.0
MAX_WAIT_S = 30.0
MAX_ASKED_S = 600.0
"""The longest that a destination may ask us to wait."""
IDLE_WAIT_S = 0.2
GROUP_BYTES = 4 * 1024 * 1024
MAX_KEPT_REFUSALS = 1000
PREFIX = "forward:"

log = logging.getLogger("inferometer.sidecar")


def register_forwards(journal: Journal, forwards: tuple[Forward, ...]) -> None:
    """Give every destination a cursor, and take away those of destinations that are no longer set."""
    wanted = {forward.consumer for forward in forwards}
    for consumer in journal.consumers():
        if consumer.startswith(PREFIX) and consumer not in wanted:
            log.warning("destination is no longer set; what waited for it is dropped", extra={"consumer": consumer})
            journal.remove_consumer(consumer)
    for consumer in wanted:
        journal.add_consumer(consumer)


class Forwarder:
    """A thread that sends one destination what it has not had.

    Args:
        forward: the destination.
        settings: of the sidecar.
        journal: path of the journal; the forwarder opens a connection of its own.
    """

    def __init__(self, forward: Forward, settings: Settings, journal: Path, counters: Counters) -> None:
        self._forward = forward
        self._settings = settings
        self._counters = counters
        self._label = forward.consumer.removeprefix(PREFIX)
        self._sender: Sender = open_sender(forward)
        self._journal_path = journal
        self._limit_bytes = min(forward.max_backlog_bytes, settings.max_journal_bytes // 2)
        self._is_away = False
        self._is_wiped = False
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"inferometer-{forward.consumer}", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Ask to stop once nothing is left, or at the first failure; what is left waits for the next start."""
        self._is_stopping.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end."""
        self._thread.join(timeout_s)

    def _work(self) -> None:
        journal = Journal(self._journal_path)
        try:
            wait_s = FIRST_WAIT_S
            while True:
                moved, asked_s = self._try_step(journal)
                if moved:
                    wait_s = FIRST_WAIT_S
                if asked_s is not None:
                    pause_s = max(min(asked_s, MAX_ASKED_S), wait_s * random.uniform(0.8, 1.2))
                    if self._is_stopping.is_set() or self._is_stopping.wait(pause_s):
                        return
                    wait_s = min(wait_s * 1.5, MAX_WAIT_S)
                elif not moved and self._is_stopping.wait(IDLE_WAIT_S):
                    return
        finally:
            self._sender.close()
            journal.close()

    def _try_step(self, journal: Journal) -> tuple[bool, float | None]:
        """Make a step whatever happens: without this thread nothing would ever be passed on again."""
        try:
            return self._step(journal)
        except StoreError as error:
            log.warning("the journal cannot be read", extra={"consumer": self._label, "error": str(error)})
        except Exception:
            log.exception("a request cannot be passed on just now", extra={"consumer": self._label})
        return False, 0.0

    def _step(self, journal: Journal) -> tuple[bool, float | None]:
        """Send one group; return (moved on, seconds to wait as asked for, None where there is nothing to send)."""
        self._measure(journal)
        entries = journal.read(self._forward.consumer, max_items=1_000_000_000, max_bytes=GROUP_BYTES)
        if entries:
            self._is_wiped = False
        elif not self._is_wiped:
            journal.wipe()
            self._is_wiped = True
        last: Entry | None = None
        try:
            for entry in entries:
                delivery = self._deliver(entry)
                if isinstance(delivery, float):
                    return last is not None, delivery
                if isinstance(delivery, str):
                    self._set_aside(journal, entry, delivery)
                last = entry
        finally:
            if last is not None:
                journal.advance(self._forward.consumer, last)
        return last is not None, None

    def _deliver(self, entry: Entry) -> float | str | None:
        """Send an entry; None where taken, seconds to wait where it may be later, the reason where never."""
        try:
            parcel = self._pack(entry)
        except Exception as error:
            return f"cannot be passed on ({type(error).__name__})"
        if not parcel.body:
            return None
        delivery = self._sender.send(parcel)
        self._tell_outage("" if delivery.retry_after_s is None else delivery.reason)
        if delivery.is_taken:
            self._counters.add("forwarded_requests_total", destination=self._label)
            if delivery.rejected:
                self._counters.add("forward_rejected_items_total", delivery.rejected, destination=self._label)
            return None
        if delivery.retry_after_s is not None:
            self._counters.add("forward_retries_total", destination=self._label, reason=delivery.reason)
            return float(delivery.retry_after_s)
        return delivery.reason

    def _tell_outage(self, reason: str) -> None:
        """Log that a destination is away, or back, once for each time."""
        if reason and not self._is_away:
            log.warning("destination takes nothing; trying again", extra={"destination": self._label, "error": reason})
        elif self._is_away and not reason:
            log.info("destination answers again", extra={"destination": self._label})
        self._is_away = bool(reason)

    def _pack(self, entry: Entry) -> Parcel:
        """Return the request as the destination wants it; as it was sent wherever that is possible."""
        signal, encoding, compression, body = entry.signal, entry.encoding, entry.compression, entry.body
        limit = self._settings.max_request_bytes
        if encoding == REDUCED:
            encoding, body = PROTOBUF, load_reduced(body)[1]
        elif self._settings.forward_content == "drop":
            body = strip_request(signal, encoding, decompress(body, compression, limit))
            encoding, compression = PROTOBUF, IDENTITY
        if self._forward.url.startswith("grpc"):
            body = decompress(body, compression, limit)
            compression = IDENTITY
            if encoding == JSON:
                encoding, body = PROTOBUF, to_protobuf(signal, body)
        elif compression not in {IDENTITY, "gzip"}:
            # receivers need not know more than gzip
            body, compression = gzip.compress(decompress(body, compression, limit), 1), "gzip"
        return Parcel(signal, encoding, compression, body)

    def _set_aside(self, journal: Journal, entry: Entry, reason: str) -> None:
        self._counters.add("forward_refused_total", destination=self._label, reason=reason)
        log.error(
            "destination refused a request", extra={"destination": self._label, "seq": entry.seq, "error": reason}
        )
        if journal.count_quarantined().get(self._forward.consumer, 0) >= MAX_KEPT_REFUSALS:
            return
        journal.quarantine(self._forward.consumer, entry, reason, self._keepable_body(entry))

    def _keepable_body(self, entry: Entry) -> bytes | None:
        if entry.encoding == REDUCED:
            return load_reduced(entry.body)[1]
        try:
            plain = decompress(entry.body, entry.compression, self._settings.max_request_bytes)
            return plain if self._settings.content == "keep" else strip_request(entry.signal, entry.encoding, plain)
        except Exception:
            return None

    def _measure(self, journal: Journal) -> None:
        """Publish the lag, and drop the oldest where too much waits for this destination."""
        backlog = journal.backlog(self._forward.consumer)
        age_s = (time.time_ns() - backlog.oldest_received_ns) / 1e9 if backlog.oldest_received_ns else 0.0
        self._counters.put("forward_lag_bytes", backlog.bytes, destination=self._label)
        self._counters.put("forward_lag_seconds", max(age_s, 0.0), destination=self._label)
        excess = backlog.bytes - self._limit_bytes
        if excess <= 0:
            return
        dropped = journal.read(self._forward.consumer, max_items=1_000_000_000, max_bytes=excess)
        journal.advance(self._forward.consumer, dropped[-1])
        self._counters.add("forward_dropped_total", len(dropped), destination=self._label)
        log.error(
            "backlog is full; the oldest were dropped", extra={"destination": self._label, "dropped": len(dropped)}
        )
