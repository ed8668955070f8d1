"""Who a run waited for: its critical path by kind, and how many calls ran at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Interval = tuple[int, int]

KINDS = ("inference", "tool", "agent", "idle")


@dataclass(slots=True, frozen=True)
class Work:
    """One leaf of a run: an inference or a tool call, in nanoseconds."""

    start_ns: int
    end_ns: int
    kind: str


def critical_path_ns(start_ns: int, end_ns: int, work: Iterable[Work], agent: Iterable[Interval]) -> dict[str, int]:
    """Return the nanoseconds of a run's critical path by kind; they sum to the run's duration.

    The path is walked from the end: whatever leaf ended last before a moment is what the run waited for there. What
    lies between leaves is agent code where a span of the agent covers it, else idle.

    Args:
        start_ns: start of the run.
        end_ns: end of the run.
        work: inferences and tool calls.
        agent: intervals during which code of the agent ran.
    """
    path = dict.fromkeys(KINDS, 0)
    covered = merged(agent)
    moment = end_ns
    for leaf in sorted(work, key=lambda leaf: (leaf.end_ns, leaf.start_ns), reverse=True):
        leaf_end = min(leaf.end_ns, moment)
        leaf_start = max(leaf.start_ns, start_ns)
        if leaf_start >= moment or leaf_end <= start_ns or leaf_start >= leaf_end:
            continue
        if leaf.end_ns > moment:
            # it was still running when the next leaf of the path began, so nothing on the path waited for it
            continue
        _add_gap(path, leaf_end, moment, covered)
        path[leaf.kind] += leaf_end - leaf_start
        moment = leaf_start
    _add_gap(path, start_ns, moment, covered)
    return path


def _add_gap(path: dict[str, int], start_ns: int, end_ns: int, covered: Sequence[Interval]) -> None:
    if end_ns <= start_ns:
        return
    inside = sum(max(0, min(end_ns, high) - max(start_ns, low)) for low, high in covered)
    path["agent"] += inside
    path["idle"] += end_ns - start_ns - inside


def merged(intervals: Iterable[Interval]) -> list[Interval]:
    """Return disjoint intervals that cover the same time."""
    result: list[Interval] = []
    for low, high in sorted(interval for interval in intervals if interval[1] > interval[0]):
        if result and low <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], high))
        else:
            result.append((low, high))
    return result


def width(intervals: Iterable[Interval]) -> int:
    """Return how many intervals are open at once at most; one that ends as another begins does not overlap."""
    edges = sorted((moment, step) for low, high in intervals for moment, step in ((low, 1), (max(high, low + 1), -1)))
    open_now = widest = 0
    for _, step in edges:
        open_now += step
        widest = max(widest, open_now)
    return widest
