"""One sidecar at a time on a journal."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from inferometer.schema.errors import StoreError


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
