"""Totals over sampled traces, with their interval.

A trace kept with probability p stands for 1/p traces (Horvitz and Thompson 1952). Traces are kept or dropped whole and
independently, so the variance of a total is the sum over traces of (1 - p) (weighted sum of the trace)^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

LEVEL = 0.95
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """Bounds between which the total of all traces, also those not kept, lies ``LEVEL`` of the time."""

    low: float
    high: float

    def as_dict(self) -> dict[str, Any]:
        """Return the bounds and their level."""
        return {"low": self.low, "high": self.high, "level": LEVEL}


class SampledSum:
    """A sum of values of traces, each times its trace's weight."""

    def __init__(self) -> None:
        self.total = 0.0
        self.is_sampled = False
        self._by_trace: dict[bytes, tuple[float, float]] = {}

    def add(self, trace_id: bytes, weight: float, value: float | Decimal) -> None:
        """Add a value; ``weight`` is the inverse probability that its trace was kept."""
        if weight == 1:
            self.total += float(value)
            return
        self.is_sampled = True
        weighted = weight * float(value)
        self.total += weighted
        before, _ = self._by_trace.get(trace_id, (0.0, weight))
        self._by_trace[trace_id] = (before + weighted, weight)

    def include(self, other: SampledSum) -> None:
        """Add another sum; what both hold of a trace is of one trace."""
        self.total += other.total
        self.is_sampled = self.is_sampled or other.is_sampled
        for trace_id, (value, weight) in other._by_trace.items():
            before, _ = self._by_trace.get(trace_id, (0.0, weight))
            self._by_trace[trace_id] = (before + value, weight)

    def interval(self) -> Interval:
        """Return the interval of the total; it is no lower than what was seen."""
        variance = math.fsum(
            (1 - 1 / weight) * value * value for value, weight in self._by_trace.values() if weight > 1
        )
        seen = self.total - math.fsum(value - value / weight for value, weight in self._by_trace.values() if weight > 1)
        half = _Z * math.sqrt(variance)
        return Interval(max(seen, self.total - half), self.total + half)
