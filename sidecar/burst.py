"""When the normaliser leaves the processor to senders: while more comes in than it moves, and what waits is young."""

from __future__ import annotations

import time
from collections.abc import Callable

from inferometer.store.journal import STORE_CONSUMER, Journal

REST_S = 0.1
PATIENCE_S = 10.0
"""Age of the oldest request at which it is moved, whatever comes in."""

LEAST_BYTES = 256 * 1024
"""Bytes of a group that tell how fast groups are moved; what smaller ones cost is mostly their transaction."""


class Burst:
    """Compares what comes in with what could be moved.

    Args:
        journal: where requests come in.
        most_bytes: backlog that is never let grow further.
        clock: seconds that never go back.
        now_ns: nanoseconds since 1970.
    """

    def __init__(
        self,
        journal: Journal,
        most_bytes: int,
        clock: Callable[[], float] = time.monotonic,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._journal = journal
        self._most_bytes = most_bytes
        self._clock = clock
        self._now_ns = now_ns
        self._bytes_per_s: float | None = None
        self._looked_at = clock()
        self._end = journal.end_offset()

    def note_group(self, moved_bytes: int, took_s: float) -> None:
        """Remember how fast a group was moved."""
        if moved_bytes >= LEAST_BYTES:
            self._bytes_per_s = moved_bytes / max(took_s, 1e-9)

    def is_on(self) -> bool:
        """Return whether what waits may wait on."""
        now, end = self._clock(), self._journal.end_offset()
        came, passed_s = end - self._end, now - self._looked_at
        self._looked_at, self._end = now, end
        if self._bytes_per_s is None or came <= self._bytes_per_s * passed_s:
            return False
        backlog = self._journal.backlog(STORE_CONSUMER)
        if backlog.oldest_received_ns is None or backlog.bytes > self._most_bytes:
            return False
        return self._now_ns() - backlog.oldest_received_ns < PATIENCE_S * 1e9
