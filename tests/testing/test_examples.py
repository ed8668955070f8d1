"""Examples run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from inferometer.schema.selection import Selection
from inferometer.store import open_store

EXAMPLES = sorted((Path(__file__).parent.parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_runs_and_is_recorded(path: Path, tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    environment = {**os.environ, "INFEROMETER_STORE": str(store)}
    done = subprocess.run(
        [sys.executable, str(path)], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    with open_store(str(store)) as opened:
        assert list(opened.inferences(Selection()))
