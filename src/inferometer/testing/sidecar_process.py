"""A real sidecar in a process of its own."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inferometer.store.journal import STORE_CONSUMER, Journal

WAIT_S = 60.0

Start = Callable[..., "Running"]


@dataclass(slots=True)
class Answer:
    """An HTTP answer; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Running:
    """A sidecar that was started; `stop` asks it politely, `kill` does not."""

    process: subprocess.Popen[bytes]
    folder: Path
    grpc_port: int
    http_port: int
    lines: list[str] = field(default_factory=list)

    @property
    def store(self) -> Path:
        """Its SQLite store."""
        return self.folder / "store.sqlite"

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Send one HTTP request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=WAIT_S)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(
                response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
            )

    def post(self, body: bytes, path: str = "/v1/traces", **headers: str) -> Answer:
        """Send an OTLP request; underscores in the names of headers are hyphens."""
        sent = {"content-type": "application/x-protobuf"}
        sent.update({key.replace("_", "-"): value for key, value in headers.items()})
        return self.request("POST", path, body, sent)

    def metric(self, name: str) -> float:
        """Return the sum of a metric's series, read over HTTP."""
        text = self.request("GET", "/metrics").body.decode()
        values = re.findall(rf"^inferometer_sidecar_{name}(?:\{{.*\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for value in values)

    def wait_for(self, condition: Callable[[], bool], what: str = "condition") -> None:
        """Return when the condition holds; fail when it does not come about."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come about"
            assert self.process.poll() is None, "the sidecar ended"
            time.sleep(0.05)

    @contextlib.contextmanager
    def another_writer(self) -> Iterator[None]:
        """Hold the store's lock, so that the normaliser can write nothing meanwhile."""
        with contextlib.closing(sqlite3.connect(self.store, isolation_level=None, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def grpc_channel(self) -> Iterator[Any]:
        """Open a gRPC channel to it."""
        import grpc  # type: ignore[import-untyped]

        with grpc.insecure_channel(f"127.0.0.1:{self.grpc_port}") as channel:
            yield channel

    def children(self) -> list[int]:
        """Return the processes that it started: its normaliser, where there is one just now."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]

    @property
    def rss_mb(self) -> float:
        """Resident memory of it and what it started, in MiB; read from /proc."""
        pids = [self.process.pid, *self.children()]
        pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids)
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def wait_until_stored(self) -> None:
        """Return when the normaliser has passed all that was journalled."""
        with contextlib.closing(Journal(self.folder / "store.sqlite.journal")) as journal:
            self.wait_for(lambda: journal.backlog(STORE_CONSUMER).entries == 0, "an empty journal")

    def stop(self) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def interrupt(self) -> int:
        """Interrupt it and all that it started, as Ctrl-C in a terminal does; return its exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self._reap()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.process.kill()
        self._reap()

    def _reap(self) -> int:
        assert self.process.stderr is not None
        with contextlib.closing(self.process.stderr):
            self.lines += self.process.stderr.read().decode().splitlines()
        return self.process.wait(WAIT_S)


def start_sidecar(folder: Path, *options: str, environment: dict[str, str] | None = None) -> Running:
    """Start a sidecar on free ports and return when it takes requests."""
    words = ["--store", str(folder / "store.sqlite"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"]
    words += ["--min-free-disk-bytes", "1M", *options]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "inferometer", "sidecar", *words],
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
        process_group=0,
    )
    assert process.stderr is not None
    lines = []
    while line := process.stderr.readline().decode():
        lines.append(line.rstrip())
        if line.startswith("OTLP/"):
            break
    else:
        process.wait(WAIT_S)
        process.stderr.close()
        raise RuntimeError(f"the sidecar did not start: {lines}")
    grpc_port = re.search(r"gRPC on \S*:(\d+)", line)
    http_port = re.search(r"https?://\S*:(\d+);", line)
    return Running(process, folder, int(grpc_port[1]) if grpc_port else 0, int(http_port[1]) if http_port else 0, lines)
