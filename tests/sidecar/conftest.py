from __future__ import annotations

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
