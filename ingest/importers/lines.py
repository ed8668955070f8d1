"""Objects out of files of JSON lines; a broken line is counted and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from inferometer.ingest.importers.importer import Source


def read_lines(source: Source, warnings: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines, one after the other."""
    for line in source.stream:
        if line.isspace():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            warnings["broken_line"] += 1
            continue
        if isinstance(value, dict):
            yield value
        else:
            warnings["not_an_object"] += 1
