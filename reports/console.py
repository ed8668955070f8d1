"""Where commands print to: one rule for how wide a line may be."""

from __future__ import annotations

from typing import TextIO

from rich.console import Console

UNBROKEN = 10_000
"""Columns of what is no terminal: longer than any line, so that none is broken."""


def open_console(stream: TextIO | None = None) -> Console:
    """Return a console on a stream, stdout where None: as wide as its terminal; a pipe or a file gets whole lines."""
    console = Console(file=stream, highlight=False)
    return console if console.is_terminal else Console(file=stream, highlight=False, width=UNBROKEN)
