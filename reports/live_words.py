"""Words and numbers that the live pages share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from inferometer.reports.numbers import UNKNOWN, seconds
from inferometer.schema.moments import is_date
from inferometer.schema.records import Run, Status
from inferometer.schema.wording import counted


@dataclass(slots=True)
class Figure:
    """One headline number."""

    title: str
    value: str
    note: str = ""


def cost_note(unpriced: int, unsplit: int) -> str:
    """Return why a sum of dollars is marked: calls left out, calls priced as if nothing came from a cache."""
    parts = [f"{counted(unpriced, 'call')} without a price"] if unpriced else []
    if unsplit:
        parts.append(f"{counted(unsplit, 'call')} priced as if nothing came from a cache")
    return "; ".join(parts)


def run_state(run: Run) -> str:
    """Return failed, open or done."""
    if run.status is Status.ERROR:
        return "failed"
    return "open" if run.is_open else "done"


def moment(time_ns: int | None) -> str:
    """Return a time (UTC) to the second; an offset from the start of a recording is no date."""
    if not is_date(time_ns):
        return UNKNOWN
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S}"


def duration(duration_ns: int | None) -> str:
    """Return a duration in the unit that reads best."""
    return seconds(None if duration_ns is None else duration_ns / 1e9)
