"""A store per test, and imports into it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inferometer.ingest.importing import ImportReport, import_paths
from inferometer.store import Store, open_store

NOW_NS = 1_800_000_000_000_000_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "store.db")) as opened:
        yield opened


@pytest.fixture
def load(store: Store) -> Callable[..., ImportReport]:
    def import_into(*paths: Path, **options: object) -> ImportReport:
        return import_paths(store, paths, now_ns=NOW_NS, **options)  # type: ignore[arg-type]

    return import_into
