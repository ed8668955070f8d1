"""Times that are dates, and times that only count from the start of a recording."""

from __future__ import annotations

from typing import TypeGuard

EARLIEST_DATE_NS = 1_420_070_400 * 1_000_000_000
"""2015-01-01: no model call that can be traced is older, so a lower time is an offset and not a date."""


def is_date(time_ns: int | None) -> TypeGuard[int]:
    """Return whether nanoseconds since 1970 name a day; sessions recorded without a clock begin near 0."""
    return time_ns is not None and time_ns >= EARLIEST_DATE_NS
