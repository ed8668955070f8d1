"""Writes docs/dialects.md from the tables of the dialects and importers: ``python tools/write_dialects.py``."""

from __future__ import annotations

from pathlib import Path

from inferometer.ingest.dialects import DIALECTS
from inferometer.ingest.importers import IMPORTERS

PATH = Path(__file__).parent.parent / "docs" / "dialects.md"

HEAD = """# What is read

Written by `tools/write_dialects.py` from the code; a test holds it to it.

A span's dialect is told by its instrumentation scope first, then by keys that only one dialect writes. Per field the
first key present is read, never a sum. Only leaf model calls are billed: what agent spans repeat of their calls is a
check value, a call seen by several instrumentations counts once, and `inferometer show RUN --why` says why.

## Dialects of spans

| dialect | scopes | input count holds cached tokens | reads |
|---|---|---|---|
"""

FORMATS = """
## Formats of files

`inferometer import` tells them from the file; `--format` names one. All of them plain, gzip or zstd, from a file, a
folder or the standard input.

| format | reads |
|---|---|
"""


def render() -> str:
    """Return the document's text."""
    rows = []
    for dialect in DIALECTS:
        scopes = ", ".join(f"`{scope}`" for scope in dialect.scopes[:4]) + (", ..." if len(dialect.scopes) > 4 else "")
        inclusive = "yes" if dialect.semantics.value == "inclusive" else "no"
        rows.append(f"| {dialect.name} | {scopes or 'by key'} | {inclusive} | {dialect.reads} |")
    formats = [f"| {importer.name} | {importer.reads} |" for importer in IMPORTERS]
    return HEAD + "\n".join(rows) + "\n" + FORMATS + "\n".join(formats) + "\n"


if __name__ == "__main__":
    PATH.write_text(render(), encoding="utf-8")
