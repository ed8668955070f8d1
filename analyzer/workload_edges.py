"""What each recorded call waited for, as arrays, and the time that passed between."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from inferometer.schema.records import Dependency, DependencyKind
from inferometer.schema.rows import InferenceRow

Key = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class EdgeList:
    """Edges sorted by the call that is waited for.

    Args:
        first: int64, shape (n_calls + 1,); the calls that wait for call c are to[first[c]] to to[first[c + 1]].
        to: int32, shape (n_edges,).
        gap_s: float64, shape (n_edges,): tool time and residual gap between the end of one and the start of the other.
        is_human: bool, shape (n_edges,): the gap is a person's.
    """

    first: NDArray[np.int64]
    to: NDArray[np.int32]
    gap_s: NDArray[np.float64]
    is_human: NDArray[np.bool_]

    @classmethod
    def none(cls, calls: int) -> EdgeList:
        """Return no edges among `calls` calls."""
        return cls.of(calls, [], [], [], [])

    @classmethod
    def of(
        cls, calls: int, source: Sequence[int], to: Sequence[int], gap_s: Sequence[float], is_human: Sequence[bool]
    ) -> EdgeList:
        """Return edges given in any order."""
        sources = np.array(source, np.int64)
        order = np.argsort(sources, kind="stable")
        first = np.zeros(calls + 1, np.int64)
        np.cumsum(np.bincount(sources, minlength=calls)[:calls], out=first[1:])
        return cls(
            first,
            np.array(to, np.int32)[order],
            np.array(gap_s, np.float64)[order],
            np.array(is_human, np.bool_)[order],
        )

    @property
    def sources(self) -> NDArray[np.int64]:
        """The call that each edge waits for, int64, shape (n_edges,)."""
        return np.repeat(np.arange(len(self.first) - 1), np.diff(self.first))


def connect(
    rows: list[InferenceRow], everything: list[InferenceRow], session_first: list[int], warnings: Counter[str]
) -> tuple[EdgeList, NDArray[np.float64]]:
    """Return the edges of a workload and when calls that wait for none are released.

    An edge that leads back in time or out of its session is dropped and counted. A call without any waits for the call
    of its run that ended last before it began, as where a run goes on in another trace; the first of a run waits, as a
    person would, for the call of its session that did. Of several calls waited for, the shortest gap
    is what passed after the last of them, and stands for all: what was one's tool time was another's run time. A call
    that failed without tokens is passed over, and so is the wait after it: it was the old provider's.

    Args:
        rows: calls in order of session and start.
        everything: these and the ones left out.
        session_first: where each session begins.
        warnings: counts are added to it.
    """
    place = {(row.inference.trace_id, row.inference.span_id): index for index, row in enumerate(rows)}
    left_out = {key: row for row in everything if (key := (row.inference.trace_id, row.inference.span_id)) not in place}
    release_s = np.zeros(len(rows))
    source: list[int] = []
    to: list[int] = []
    gaps: list[float] = []
    human: list[bool] = []
    for begin, end in pairwise(session_first):
        session = range(begin, end)
        before = _Ends(rows, session)
        of_run = {run_id: _Ends(rows, calls) for run_id, calls in _by_run(rows, session).items()}
        for index in session:
            found = _waited_for(rows[index], place, left_out)
            within = [(other, edge) for other, edge in found if begin <= other < index]
            warnings.update(_dropped(found, begin, end, index))
            if not within:
                own = of_run.get(rows[index].placement.run_id or "")
                other, kind = own.last_before(index) if own else None, DependencyKind.SEQUENTIAL
                if other is None:
                    other, kind = before.last_before(index), DependencyKind.HUMAN
                if other is None:
                    release_s[index] = _offset_s(rows[index], rows[begin])
                    continue
                within = [(other, Dependency(b"", kind))]
            gap_s = _gap_s(rows, index, within)
            for other, edge in within:
                source.append(other)
                to.append(index)
                gaps.append(gap_s)
                human.append(edge.kind is DependencyKind.HUMAN)
    return EdgeList.of(len(rows), source, to, gaps, human), release_s


def _by_run(rows: list[InferenceRow], session: range) -> dict[str, list[int]]:
    """Return the calls of each run that has several."""
    calls: dict[str, list[int]] = {}
    for index in session:
        run_id = rows[index].placement.run_id
        if run_id is not None:
            calls.setdefault(run_id, []).append(index)
    return {run_id: found for run_id, found in calls.items() if len(found) > 1}


class _Ends:
    """The ends of some calls of a session, in order."""

    def __init__(self, rows: list[InferenceRow], calls: Sequence[int]) -> None:
        self._rows = rows
        self._calls = calls
        ends = [(rows[index].placement.end_ns, index) for index in calls]
        self._known = sorted((end_ns, index) for end_ns, index in ends if end_ns is not None)
        self._times = [end_ns for end_ns, _ in self._known]

    def last_before(self, index: int) -> int | None:
        """Return the call that ended last before `index` began; where times are unknown, the one before it."""
        start_ns = self._rows[index].placement.start_ns
        if start_ns is None:
            place = bisect_left(self._calls, index)
            return self._calls[place - 1] if place else None
        for place in range(bisect_right(self._times, start_ns) - 1, -1, -1):
            if self._known[place][1] < index:
                return self._known[place][1]
        return None


def _waited_for(
    row: InferenceRow, place: dict[Key, int], left_out: dict[Key, InferenceRow]
) -> list[tuple[int, Dependency]]:
    """Return (call, edge) pairs, going through calls that were left out to what these had waited for."""
    trace_id = row.inference.trace_id
    found: list[tuple[int, Dependency]] = []
    pending = list(row.inference.depends_on)
    seen: set[Key] = set()
    while pending:
        edge = pending.pop()
        key = (trace_id, edge.span_id)
        if key in place:
            found.append((place[key], edge))
        elif key in left_out and key not in seen:
            seen.add(key)
            pending.extend(left_out[key].inference.depends_on)
    return found


def _dropped(found: list[tuple[int, Dependency]], begin: int, end: int, index: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for other, _ in found:
        if not begin <= other < end:
            counts["dependency_outside_session"] += 1
        elif other >= index:
            counts["cyclic_dependency"] += 1
    return counts


def _offset_s(row: InferenceRow, first: InferenceRow) -> float:
    if row.placement.start_ns is None or first.placement.start_ns is None:
        return 0.0
    return max(0.0, (row.placement.start_ns - first.placement.start_ns) * 1e-9)


def _gap_s(rows: list[InferenceRow], index: int, within: list[tuple[int, Dependency]]) -> float:
    stated = [edge.gap_ns for _, edge in within if edge.gap_ns is not None]
    if stated:
        return max(0.0, min(stated) * 1e-9)
    start_ns = rows[index].placement.start_ns
    ends = [end_ns for other, _ in within if (end_ns := rows[other].placement.end_ns) is not None]
    if start_ns is None or not ends:
        return 0.0
    return max(0.0, (start_ns - max(ends)) * 1e-9)
