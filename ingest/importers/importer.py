"""The one shape of an importer: how a file of its format is known, and how its records are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import orjson

from inferometer.ingest.importers.parts import Cuts
from inferometer.schema.errors import InputError
from inferometer.schema.records import RecordBatch

HEAD_BYTES = 65536
"""Bytes at the start of a file, uncompressed, by which its format is told; more where its first line is longer."""


@dataclass(slots=True)
class Options:
    """What the user asked for.

    Args:
        model: name of the model for files that do not say.
        keep_content: whether what people and models said may stay.
    """

    model: str | None = None
    keep_content: bool = False


@dataclass(slots=True)
class Source:
    """One file to import, uncompressed.

    Args:
        name: what records are marked with, never a whole path.
        path: where it lies, or ``-``.
        stream: its bytes from the start.
        head: the first bytes of it, at least its first line.
        first: the first JSON value in it: its first line's where it holds JSON lines, else the whole of it, or of a
            large document its beginning; None where it is not JSON.
        is_lines: whether it holds JSON lines; one object on one line is both, lines and a whole document.
        is_whole: whether `first` is all there is.
        is_large: whether it is one document, or begins with one, that is too large to be held.
        options: what the user asked for.
    """

    name: str
    path: PurePath
    stream: BinaryIO
    head: bytes
    first: Any = None
    is_lines: bool = False
    is_whole: bool = False
    is_large: bool = False
    options: Options = field(default_factory=Options)

    def take(self) -> Any:
        """Return the one JSON value of the file and let go of it, so that it is not held twice.

        Raises:
            InputError: it is not one JSON value.
        """
        if not self.is_whole or self.first is None:
            raise InputError(str(self.path), "not one JSON document")
        document, self.first = self.first, None
        return document

    def database(self) -> Path | bytes:
        """Return where an SQLite database lies, or, of one that is packed or comes by the standard input, all of it."""
        path = Path(self.path)
        return path if path.is_file() and path.name == self.name else self.stream.read()

    def load(self) -> None:
        """Hold a large document whole after all, for a format that cannot be read in parts.

        Raises:
            InputError: it is not JSON.
        """
        self.first = parse(self.path, self.stream.read())
        self.is_whole, self.is_large = True, False


def parse(path: PurePath, body: bytes) -> Any:
    """Return the JSON value that a file holds.

    Raises:
        InputError: it is not one JSON value.
    """
    try:
        return orjson.loads(body.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise InputError(str(path), f"not JSON: {error}") from error


@dataclass(frozen=True, slots=True)
class Importer:
    """One file format.

    Args:
        name: as given to ``--format``.
        reads: what is read and from which version, for the documentation.
        matches: tells from the head whether a file is of this format.
        read: yields the records, a part at a time where the format allows.
        cuts: where a large document of the format is cut; None where it is read whole.
    """

    name: str
    reads: str
    matches: Callable[[Source], bool]
    read: Callable[[Source], Iterator[RecordBatch]]
    cuts: Cuts | None = None
