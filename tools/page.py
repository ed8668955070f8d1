"""A page of Markdown tables, and the errors that fill them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Errors:
    """Absolute relative errors of one quantity."""

    values: np.ndarray

    def line(self) -> str:
        """Return count, median, mean and 90th percentile as table cells."""
        v = self.values
        if not v.size:
            return "0 | – | – | –"
        return f"{v.size} | {np.median(v):.1%} | {v.mean():.1%} | {np.quantile(v, 0.9):.1%}"

    @property
    def median(self) -> float:
        """The median error; NaN of nothing."""
        return float(np.median(self.values)) if self.values.size else float("nan")


def errors(said: np.ndarray, measured: np.ndarray, rows: np.ndarray) -> Errors:
    """Return |said / measured - 1| of `rows` where both exist."""
    values = np.abs(said[rows] / measured[rows] - 1)
    return Errors(values[np.isfinite(values)])


class Page:
    """Lines of Markdown."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, *lines: str) -> None:
        """Append lines."""
        self.lines += lines

    def table(self, *columns: str) -> None:
        """Begin a table."""
        self.add("", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns))

    def row(self, *cells: str) -> None:
        """Append one row of a table."""
        self.add("| " + " | ".join(cells) + " |")
