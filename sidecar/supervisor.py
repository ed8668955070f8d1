"""Keeps the normaliser process running and adds up what it reports."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from dataclasses import asdict, replace

from inferometer.sidecar.counters import Counters
from inferometer.sidecar.normaliser_settings import NormaliserSettings

RESTART_WAIT_S = 0.5
MAX_RESTART_WAIT_S = 10.0
WAKE_INTERVAL_S = 0.02
REPORT_LIMIT_BYTES = 1024 * 1024

log = logging.getLogger("inferometer.sidecar")


class Supervisor:
    """Starts the normaliser, wakes it when something came, starts it again when it ends.

    Args:
        settings: handed to the process on its standard input.
        lock_fd: the journal's lock, inherited, so that no other sidecar starts while the process still works.
    """

    def __init__(self, settings: NormaliserSettings, counters: Counters, lock_fd: int) -> None:
        self._settings = settings
        self._counters = counters
        self._lock_fd = lock_fd
        self._process: asyncio.subprocess.Process | None = None
        self._last_wake = 0.0
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the process and watch it."""
        self._task = asyncio.create_task(self._watch(), name="inferometer-supervisor")

    @property
    def pid(self) -> int | None:
        """The process id; None while there is none."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    def wake(self) -> None:
        """Tell the normaliser that something came; cheap, may be called for every request."""
        now = time.monotonic()
        if now - self._last_wake > WAKE_INTERVAL_S:
            self._last_wake = now
            self._say(b"wake\n")

    def _say(self, word: bytes) -> None:
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        # a busy normaliser does not read; words must not pile up
        if process.stdin.is_closing() or (word == b"wake\n" and process.stdin.transport.get_write_buffer_size() > 0):
            return
        process.stdin.write(word)

    async def stop(self, timeout_s: float) -> None:
        """Let the normaliser empty the journal, at most so long; what is left waits for the next start."""
        self._is_stopping = True
        self._say(b"stop\n")
        if self._task is None:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._task)
        except TimeoutError:
            log.warning("the journal was not emptied in time; the rest is taken at the next start")
            if self._process is not None and self._process.returncode is None:
                # safe at any moment: what it was writing is rolled back and read again
                self._process.kill()
            await self._task

    async def _watch(self) -> None:
        wait_s = RESTART_WAIT_S
        settings = self._settings
        while True:
            started = time.monotonic()
            try:
                code = await self._run(settings)
            except Exception as error:
                # it ended before it could be spoken to, or could not be started at all; whatever the reason, requests
                # are acknowledged meanwhile, so it is said and tried again
                log.warning("the normaliser cannot be reached", extra={"error": type(error).__name__})
                code = await self._reap()
            if self._is_stopping:
                return
            self._counters.add("normaliser_restarts_total")
            log.error("the normaliser ended; starting it again", extra={"exit_code": code, "wait_s": wait_s})
            settings = replace(self._settings, careful=True)
            wait_s = RESTART_WAIT_S if time.monotonic() - started > 60 else min(wait_s * 2, MAX_RESTART_WAIT_S)
            await asyncio.sleep(wait_s)

    async def _run(self, settings: NormaliserSettings) -> int:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "inferometer.sidecar.normaliser"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._lock_fd,),
            limit=REPORT_LIMIT_BYTES,
            start_new_session=True,  # Ctrl-C is the parent's to see: it decides when all is drained
        )
        self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asdict(settings)).encode() + b"\n")
        if self._is_stopping:
            process.stdin.write(b"stop\n")
        async for line in process.stdout:
            self._add_up(line)
        return await process.wait()

    async def _reap(self) -> int:
        process = self._process
        if process is None or process.returncode is not None:
            return -1
        process.kill()
        return await process.wait()

    def _add_up(self, line: bytes) -> None:
        try:
            counts = json.loads(line)
        except ValueError:
            return  # cut off in the middle of a line by its end
        for kind, count in counts.pop("warnings", {}).items():
            self._counters.add("warnings_total", count, kind=kind)
        for name, count in counts.items():
            self._counters.add(name, count)
