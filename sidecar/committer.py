"""Group commit: many requests, one transaction, one wait for the disk."""

from __future__ import annotations

import asyncio
import logging
import threading

from inferometer.schema.errors import StoreError
from inferometer.store.journal import Journal
from inferometer.store.log_records import NewEntry

MAX_GROUP_ENTRIES = 256
MAX_GROUP_BYTES = 32 * 1024 * 1024

Waiting = tuple[NewEntry, "asyncio.Future[None]"]

log = logging.getLogger("inferometer.sidecar")


class Committer:
    """A thread that appends what is waiting to the journal; a request's future is done when it is on disk."""

    def __init__(self, journal: Journal, loop: asyncio.AbstractEventLoop) -> None:
        self._journal = journal
        self._loop = loop
        self._waiting: list[Waiting] = []
        self._condition = threading.Condition()
        self._is_closing = False
        self._thread = threading.Thread(target=self._work, name="inferometer-committer")
        self._thread.start()

    async def append(self, entry: NewEntry) -> None:
        """Return when the entry is on disk.

        Raises:
            StoreError: it could not be written; nothing of it is kept.
        """
        future = self._loop.create_future()
        with self._condition:
            self._waiting.append((entry, future))
            self._condition.notify()
        await future

    def close(self) -> None:
        """Commit what is waiting and stop."""
        with self._condition:
            self._is_closing = True
            self._condition.notify()
        self._thread.join()

    def _work(self) -> None:
        while group := self._next_group():
            try:
                self._journal.append([entry for entry, _ in group])
            except Exception as error:
                failure = error if isinstance(error, StoreError) else StoreError(str(self._journal.path), repr(error))
                self._tell(group, failure)
            else:
                self._tell(group, None)

    def _tell(self, group: list[Waiting], failure: StoreError | None) -> None:
        try:
            self._loop.call_soon_threadsafe(_resolve, group, failure)
        except RuntimeError:
            log.warning("loop closed before senders could be answered", extra={"requests": len(group)})

    def _next_group(self) -> list[Waiting]:
        with self._condition:
            while not self._waiting and not self._is_closing:
                self._condition.wait()
            size = count = 0
            for entry, _ in self._waiting[:MAX_GROUP_ENTRIES]:
                size += len(entry.body)
                if count and size > MAX_GROUP_BYTES:
                    break
                count += 1
            group, self._waiting = self._waiting[:count], self._waiting[count:]
            return group


def _resolve(group: list[Waiting], failure: StoreError | None) -> None:
    for _, future in group:
        if future.done():
            continue
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)
