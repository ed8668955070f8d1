"""Writes docs/data.md, what imports of real data give: ``python tools/write_data_table.py ../shared``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from inferometer.ingest.importing import import_paths
from inferometer.store import open_store

PATH = Path(__file__).parent.parent / "docs" / "data.md"
NOW_NS = 1_800_000_000_000_000_000
FOLDERS = ("spans", "sessions", "http")

HEAD = """# Real data, imported

Written by `tools/write_data_table.py`; `tests/ingest/test_data_table.py` holds it to what an import gives today, and
`tests/ingest/test_acceptance.py` and `test_data.py` count the same files again without the code under test.

Calls are billed ones. Tokens of input hold cached ones, tokens of output hold reasoning. Their usage is told by the
provider, counted or estimated from the text, absent, or refused. Not understood are empty files, tables
beside the data, and answers of no model call: transcriptions, files, skills, errors.

| folder | files | not understood | runs | calls | tool calls | input | output | told | counted | absent | refused |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""


def folders(data: Path) -> list[Path]:
    """Return the folders that have a row."""
    return sorted(folder for name in FOLDERS for folder in (data / name).iterdir() if folder.is_dir())


def row(data: Path, folder: Path) -> str:
    """Return the row of one folder, imported into a store of its own."""
    with tempfile.TemporaryDirectory() as name, open_store(str(Path(name, "store.db"))) as store:
        report = import_paths(store, [folder], now_ns=NOW_NS)
        calls = [found.inference for found in store.inferences()]
    sources = [call.usage_source.value for call in calls]
    cells = [
        folder.relative_to(data).as_posix(),
        report.files,
        len(report.failed),
        report.runs,
        len(calls),
        report.tool_calls,
        sum(call.meters.input_total or 0 for call in calls),
        sum(call.meters.output or 0 for call in calls),
        sources.count("provider"),
        sources.count("counted") + sources.count("estimated"),
        sources.count("absent"),
        sources.count("refused"),
    ]
    return "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in cells) + " |"


def main() -> None:
    """Write the table."""
    data = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared") / "data"
    PATH.write_text(HEAD + "\n".join(row(data, folder) for folder in folders(data)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
