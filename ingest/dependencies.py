"""Which call waited for which, inferred from times where the source does not know.

A call depends on the latest calls of its run that ended before it began: those after whose end no other call that also
ended before it began.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter

from inferometer.schema.records import Dependency, DependencyKind, Span

MAX_EDGES = 32
"""Edges kept per call, those of the calls that ended last: it was them it waited for."""


def infer_dependencies(calls: list[Span], tools: list[Span], depth: dict[bytes, int]) -> dict[bytes, list[Dependency]]:
    """Return for each call of one run what it waited for.

    Args:
        calls: the spans of the run's billable calls.
        tools: the spans of its tool calls.
        depth: how many agents are around each call.
    """
    timed = [call for call in calls if call.start_ns is not None and call.end_ns is not None]
    by_end = sorted(timed, key=lambda call: (call.end_ns or 0, call.span_id))
    ends = [call.end_ns or 0 for call in by_end]
    latest_start: list[int] = []
    for call in by_end:
        latest_start.append(max(call.start_ns or 0, latest_start[-1] if latest_start else 0))
    found: dict[bytes, list[Dependency]] = {}
    followers: Counter[bytes] = Counter()
    for call in timed:
        start_ns = call.start_ns or 0
        count = bisect_right(ends, start_ns)
        edges: list[Dependency] = []
        for place in range(count - 1, -1, -1):
            # a call that ended before the latest of the others began is behind that one already
            if len(edges) == MAX_EDGES or (edges and ends[place] <= latest_start[count - 1]):
                break
            if by_end[place].span_id != call.span_id:
                edges.append(Dependency(by_end[place].span_id, gap_ns=start_ns - ends[place]))
        if edges:
            found[call.span_id] = edges
            for edge in edges:
                followers[edge.span_id] += 1
    tool_ends = sorted(tool.end_ns for tool in tools if tool.end_ns is not None)
    for call in timed:
        for edge in found.get(call.span_id, ()):
            edge.kind = _kind(call, edge, len(found[call.span_id]), followers[edge.span_id], depth, tool_ends)
    return found


def _kind(
    call: Span, edge: Dependency, edges: int, followers: int, depth: dict[bytes, int], tool_ends: list[int]
) -> DependencyKind:
    deeper = depth.get(call.span_id, 0) - depth.get(edge.span_id, 0)
    if edges > 1 or deeper < 0:
        return DependencyKind.JOIN
    if deeper > 0:
        return DependencyKind.SPAWN
    if followers > 1:
        return DependencyKind.FORK
    start_ns = call.start_ns or 0
    before = start_ns - (edge.gap_ns or 0)
    if bisect_right(tool_ends, start_ns) > bisect_left(tool_ends, before):
        return DependencyKind.TOOL
    return DependencyKind.SEQUENTIAL
