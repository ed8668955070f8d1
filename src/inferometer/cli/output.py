"""Files that verbs write: what keeps one from being written is told before the work, and each is whole or not there."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from inferometer.schema.errors import InputError


class OutputFile(click.Path):
    """The path of a file to write; a folder that is missing or closed is told at once."""

    def __init__(self, *, allow_dash: bool = False) -> None:
        super().__init__(dir_okay=False, writable=True, allow_dash=allow_dash)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the path as given."""
        name = str(super().convert(value, param, ctx))
        path = Path(name)
        if not (name == "-" and self.allow_dash) and not path.exists():
            folder = path.absolute().parent
            if not folder.is_dir():
                self.fail(f"{name}: there is no folder {folder}", param, ctx)
            if not os.access(folder, os.W_OK):
                self.fail(f"{name}: no permission to write into {folder}", param, ctx)
        return name


@contextmanager
def write_whole(name: str) -> Iterator[TextIO]:
    """Open a file to write text into, ``-`` for stdout; it takes its name only once it is whole.

    Raises:
        InputError: it cannot be written.
    """
    if name == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape", newline="")  # as in a file
        yield sys.stdout
        return
    path = Path(name)
    try:
        if path.exists() and not path.is_file():  # a device or a pipe is written into, never replaced
            with path.open("w", encoding="utf-8", newline="") as stream:
                yield stream
            return
        path = path.resolve()
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("w", encoding="utf-8", newline="") as stream:
                yield stream
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(name, f"cannot be written: {(error.strerror or str(error)).lower()}") from error
