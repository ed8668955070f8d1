"""The table of real data in the documentation is what an import gives today."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest


@pytest.mark.slow
def test_table_is_what_an_import_gives(shared: Path, repository: Path) -> None:
    tool = runpy.run_path(str(repository / "tools/write_data_table.py"))
    written = (repository / "docs/data.md").read_text(encoding="utf-8")
    found = [tool["row"](shared / "data", folder) for folder in tool["folders"](shared / "data")]
    assert written == tool["HEAD"] + "\n".join(found) + "\n"
