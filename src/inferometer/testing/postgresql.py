"""A PostgreSQL server of the test's own, from the programs that Debian's ``postgresql`` installs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30


def find_programs() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``; None where they are not installed."""
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


class Server:
    """A running server; it keeps its data over `stop` and `start`."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs = programs
        self._folder = folder
        self.port = port

    def url(self, database: str = "postgres") -> str:
        """Return the URL of a database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self._folder} -c fsync=off -c max_connections=20"
        self._run("pg_ctl", "-w", "-t", "60", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; ``immediate`` is a crash."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def initialise(self) -> None:
        """Create the server's data folder."""
        self._run("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync")

    def _run(self, program: str, *arguments: str) -> None:
        # the server refuses to run as root
        user = "postgres" if os.geteuid() == 0 else None
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        # not a pipe: the server keeps what it inherits open, and reading to the end would never end
        with (self._folder / "programs").open("ab") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log, user=user, cwd=self._folder, timeout=120)


def _place() -> Path | None:
    """Return a file system in memory where one has room: each database of a second's life writes 13 MB."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM_BYTES else None


@contextmanager
def serve(programs: Path) -> Iterator[Server]:
    """Run a server in a folder of its own on a free port of 127.0.0.1, and leave nothing behind."""
    with tempfile.TemporaryDirectory(prefix="inferometer-pg-", dir=_place()) as name:
        folder = Path(name)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        server = Server(programs, folder, port)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
