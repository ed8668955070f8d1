from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from inferometer.store import Store, open_store
from inferometer.store.journal import Journal
from inferometer.testing.sidecar_process import Running, Start, start_sidecar


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start sidecars over one folder; whatever still runs at the end is killed."""
    started: list[Running] = []

    def begin(*options: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> Running:
        running = start_sidecar(folder or tmp_path, *options, environment=environment)
        started.append(running)
        return running

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.kill()


def copy_journal(from_folder: Path, to_folder: Path) -> None:
    """Put a journal in the place of another, as it lies on the disk."""
    to_folder.mkdir(exist_ok=True)
    for name in ("store.sqlite.journal", "store.sqlite.journal-wal", "store.sqlite.journal-shm"):
        (to_folder / name).unlink(missing_ok=True)
        if (from_folder / name).exists():
            shutil.copy(from_folder / name, to_folder)
    shutil.rmtree(to_folder / "store.sqlite.journal.d", ignore_errors=True)
    shutil.copytree(from_folder / "store.sqlite.journal.d", to_folder / "store.sqlite.journal.d")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        yield opened


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty journal beside it."""
    with closing(Journal(tmp_path / "store.sqlite.journal")) as opened:
        yield opened
