"""Calls that may be one call, seen by two instrumentations that share no trace.

Some instrumentations trace apart from all others in a process: what they see of a run is a trace of its own, and
nothing in it names the other one. Each call then counts twice. Such pairs are found here for a reader to judge and are
never merged: a service may well ask the same of a model twice at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from inferometer.ingest.duplicates import (
    CLOCK_TOLERANCE_NS,
    MAX_OVERHEAD_NS,
    MAX_OVERHEAD_SHARE,
    models_agree,
    tokens_agree,
)
from inferometer.schema.records import Inference
from inferometer.schema.rows import InferenceRow, Placement
from inferometer.schema.selection import Selection
from inferometer.store import Store

Key = tuple[bytes, bytes]


class Seen(Protocol):
    """A call with where and when it happened."""

    @property
    def inference(self) -> Inference:
        """The call."""

    @property
    def placement(self) -> Placement:
        """Where and when it happened."""


def possible_doubles(store: Store, rows: Iterable[InferenceRow]) -> dict[Key, InferenceRow]:
    """Return for calls of one run the calls of other traces that may be the same ones, each at most once.

    Args:
        store: where the other traces are.
        rows: billable calls.
    """
    found: dict[Key, InferenceRow] = {}
    taken: set[Key] = set()
    for row in rows:
        for other in _beside(store, row):
            if key_of(other) not in taken and may_be_double(row, other):
                found[key_of(row)] = other
                taken.add(key_of(other))
                break
    return found


def key_of(row: Seen) -> Key:
    """Return (trace_id, span_id) of a call."""
    return row.inference.trace_id, row.inference.span_id


def may_be_double(one: Seen, other: Seen) -> bool:
    """Return whether two calls may be views of one.

    They are in two traces of one service, written in two dialects; one lies within the other in time and is hardly
    shorter; usage is known of both, and model and tokens agree.
    """
    first, second = one.inference, other.inference
    return (
        first.trace_id != second.trace_id
        and one.placement.service == other.placement.service
        and one.placement.dialect != other.placement.dialect
        and len({call.response_id for call in (first, second) if call.response_id}) < 2
        and first.meters.is_known
        and second.meters.is_known
        and tokens_agree(first, second)
        and models_agree(first, second)
        and (_wraps(one, other) or _wraps(other, one))
    )


def reach_ns_of(placement: Placement) -> int | None:
    """Return how long after the start of a call a double of it may have started; None where its times are unknown."""
    duration_ns = placement.duration_ns
    return None if duration_ns is None else _overhead_ns(duration_ns) + CLOCK_TOLERANCE_NS


def _beside(store: Store, row: InferenceRow) -> list[InferenceRow]:
    """Return the calls that began near one, the nearest first."""
    start_ns, reach_ns = row.placement.start_ns, reach_ns_of(row.placement)
    if start_ns is None or reach_ns is None:
        return []
    near = store.inferences(Selection(since_ns=start_ns - reach_ns, until_ns=start_ns + reach_ns + 1))
    return sorted(near, key=lambda other: (abs((other.placement.start_ns or 0) - start_ns), key_of(other)))


def _wraps(outer: Seen, inner: Seen) -> bool:
    a, b = outer.placement, inner.placement
    if a.start_ns is None or a.end_ns is None or b.start_ns is None or b.end_ns is None:
        return False
    is_within = a.start_ns - CLOCK_TOLERANCE_NS <= b.start_ns and b.end_ns <= a.end_ns + CLOCK_TOLERANCE_NS
    longer_ns = (a.end_ns - a.start_ns) - (b.end_ns - b.start_ns)
    return is_within and longer_ns <= _overhead_ns(a.end_ns - a.start_ns)


def _overhead_ns(duration_ns: int) -> int:
    return max(MAX_OVERHEAD_NS, round(MAX_OVERHEAD_SHARE * duration_ns))
