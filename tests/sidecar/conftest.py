from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

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
