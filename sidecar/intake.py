"""The one way in, whatever the transport: admit, look over, journal, and only then accept."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from inferometer.schema.errors import StoreError
from inferometer.sidecar.answer import Acceptance
from inferometer.sidecar.committer import Committer
from inferometer.sidecar.compression import IDENTITY, decompress
from inferometer.sidecar.counters import Counters
from inferometer.sidecar.envelope import Envelope, open_envelope
from inferometer.sidecar.reading import REDUCED, reduce_request
from inferometer.sidecar.refusal import Refusal
from inferometer.sidecar.settings import Settings
from inferometer.store.entry_log import SEGMENT_BYTES
from inferometer.store.journal import Journal
from inferometer.store.log_records import NewEntry

_LOOK_OVER_IN_THREAD_BYTES = 2 * 1024 * 1024
_BOUNDS_AGE_S = 0.05
_BOUNDS_BYTES = 1024 * 1024


class Intake:
    """Takes requests: bounded in memory, on disk and in size; what `accept` returned for survives a crash.

    Args:
        settings: bounds and what is kept of content.
        journal: where requests go; its backlog and its disk are watched.
        on_accept: called after each request that was journalled.
    """

    def __init__(
        self,
        settings: Settings,
        journal: Journal,
        committer: Committer,
        counters: Counters,
        on_accept: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.counters = counters
        self.is_closing = False
        self._journal = journal
        self._folder = Path(journal.path).parent
        self._committer = committer
        self._on_accept = on_accept
        self._in_flight_bytes = 0
        self._bounds_checked = 0.0
        self._unchecked_bytes = 0
        self._bounds_refusal: Refusal | None = None

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of requests that are being read or committed."""
        return self._in_flight_bytes

    @contextmanager
    def admit(self, size_bytes: int, own_bytes: int = 0) -> Iterator[None]:
        """Reserve memory for a request while it is worked on.

        Args:
            size_bytes: how much.
            own_bytes: what the same request has reserved already; a request that is alone is never too much.

        Raises:
            Refusal: too much is being worked on, the journal or its disk is full, or we are stopping.
        """
        if refusal := self._why_not(size_bytes, own_bytes):
            raise refusal
        self._in_flight_bytes += size_bytes
        try:
            yield
        finally:
            self._in_flight_bytes -= size_bytes

    def _why_not(self, size_bytes: int, own_bytes: int) -> Refusal | None:
        if self.is_closing:
            return Refusal.unavailable("stopping", "the sidecar is stopping")
        is_alone = self._in_flight_bytes <= own_bytes
        if not is_alone and self._in_flight_bytes + size_bytes > self.settings.max_in_flight_bytes:
            return Refusal.unavailable("busy", "too many requests at once")
        now = time.monotonic()
        self._unchecked_bytes += size_bytes
        if now - self._bounds_checked > _BOUNDS_AGE_S or self._unchecked_bytes > _BOUNDS_BYTES:
            self._bounds_refusal = self.check_bounds()
            self._bounds_checked = now
            self._unchecked_bytes = 0
        return self._bounds_refusal

    def check_bounds(self) -> Refusal | None:
        """Return why nothing can be taken just now; None where all is well."""
        backlog = self._journal.backlog_bytes()
        self.counters.put("journal_bytes", backlog)
        if backlog + self._in_flight_bytes > self.settings.max_journal_bytes:
            return Refusal.unavailable("journal_full", "the journal is full; it is being worked off")
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        self.counters.put("free_disk_bytes", free)
        # a segment goes when all of it is in the store, so that its records need room before it makes any
        if free - self._in_flight_bytes < self.settings.min_free_disk_bytes + SEGMENT_BYTES:
            return Refusal.unavailable("disk_full", "the disk is nearly full")
        return None

    async def accept(self, signal: str, encoding: str, compression: str, body: bytes) -> Acceptance:
        """Journal one request and say what was taken of it.

        Args:
            signal: ``traces``, ``logs`` or ``metrics``.
            encoding: ``protobuf`` or ``json``.
            compression: content encoding of the body.
            body: as sent.

        Raises:
            Refusal: nothing of it was kept.
        """
        received_ns = time.time_ns()
        self.counters.add("received_bytes_total", len(body), signal=signal)
        if compression == IDENTITY and len(body) < _LOOK_OVER_IN_THREAD_BYTES:
            envelope, entry = self._look_over(signal, encoding, compression, body, received_ns)
        else:
            envelope, entry = await asyncio.to_thread(self._look_over, signal, encoding, compression, body, received_ns)
        if envelope.items:
            try:
                await self._committer.append(entry)
            except StoreError as error:
                raise Refusal.unavailable("journal_failed", "the journal cannot be written") from error
            self._on_accept()
        self.counters.add("accepted_requests_total", signal=signal)
        self.counters.add("accepted_items_total", envelope.items, signal=signal)
        if envelope.rejected:
            self.counters.add("rejected_items_total", envelope.rejected, signal=signal)
        return Acceptance(envelope.items, envelope.rejected, envelope.message)

    def _look_over(
        self, signal: str, encoding: str, compression: str, body: bytes, received_ns: int
    ) -> tuple[Envelope, NewEntry]:
        plain = decompress(body, compression, self.settings.max_request_bytes)
        envelope = open_envelope(signal, encoding, plain)
        if envelope.rewritten is not None:
            plain, body, compression = envelope.rewritten, envelope.rewritten, IDENTITY
        if self.settings.content == "drop-before-journal" and envelope.items:
            try:
                body = reduce_request(signal, encoding, plain, with_request=bool(self.settings.forward))
            except Exception as error:
                # what cannot be reduced may not reach the disk, not even as quarantine
                raise Refusal.malformed("the request cannot be read without keeping its content") from error
            encoding, compression = REDUCED, IDENTITY
        return envelope, NewEntry(signal, encoding, compression, envelope.items, body, received_ns)
