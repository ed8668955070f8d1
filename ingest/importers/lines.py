"""What files of JSON hold, one value after the other: lines, one document, or a large one in parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import orjson

from inferometer.ingest.importers.importer import Source
from inferometer.ingest.importers.parts import Cuts, read_parts
from inferometer.schema.errors import InputError


def read_documents(source: Source, warnings: Counter[str], cuts: Cuts) -> Iterator[Any]:
    """Yield the objects of JSON lines, the one document of a file, or documents of its shape that say the same.

    Raises:
        InputError: a large document is not JSON.
    """
    if source.is_whole:
        yield source.take()
    elif source.is_large:
        try:
            yield from read_parts(source.stream, cuts)
        except ValueError as error:
            raise InputError(str(source.path), f"not JSON: {error}") from error
    else:
        yield from read_lines(source, warnings)


def read_document(source: Source, cuts: Cuts) -> Iterator[Any]:
    """Yield the one document of a file, or documents that say the same if all are taken together.

    Args:
        source: the file.
        cuts: where its lists may be cut, and that the rest is told.

    Raises:
        InputError: it is not one JSON value.
    """
    if source.is_large:
        yield from read_documents(source, Counter(), cuts)
    else:
        yield source.take()


def read_entries(source: Source, warnings: Counter[str], cuts: Cuts) -> Iterator[Any]:
    """Yield what a list holds, be it JSON lines or one document; a document that is no list is an entry itself."""
    for document in read_documents(source, warnings, cuts):
        if isinstance(document, list):
            yield from document
        else:
            yield document


def read_lines(source: Source, warnings: Counter[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines, one after the other; a broken line is counted and left out."""
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
