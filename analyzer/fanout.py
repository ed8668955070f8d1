"""Fan-out: what one request to an agent sets in motion, as distributions over runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.fanout_distribution import Distribution, distribution
from inferometer.analyzer.fanout_path import KINDS, Work, critical_path_ns, width
from inferometer.schema.moments import is_date
from inferometer.schema.records import DependencyKind, Run, Span, SpanKind
from inferometer.schema.rows import SpanOutline, ToolCallRow

DAY_NS = 86_400_000_000_000

AGENT_KINDS = frozenset({SpanKind.AGENT, SpanKind.WORKFLOW})
CODE_KINDS = frozenset({SpanKind.AGENT, SpanKind.WORKFLOW, SpanKind.STEP, SpanKind.RETRIEVAL, SpanKind.OTHER})


@dataclass(slots=True)
class RunShape:
    """The fan-out of one run.

    Attributes:
        depth: agents nested in each other, 1 for a lone agent; None where its spans were not read.
        width: model and tool calls open at once, at most; None where none has times.
        input_tokens: of all its calls; None where none of them states any.
        cost_usd: of its calls that have a price; None where it made calls and none has one.
        unpriced: how many of its calls have no price.
        amplification: tokens processed per token of the user's; None where the user's tokens are unknown.
        resend: input tokens per token of the largest single input: how often the context went over the wire.
        path_ns: critical path by kind; None where times are unknown.
    """

    run: Run
    inferences: int
    tool_calls: int
    input_tokens: int | None
    cost_usd: Decimal | None
    unpriced: int
    depth: int | None
    width: int | None
    amplification: float | None
    resend: float | None
    path_ns: dict[str, int] | None
    version: str | None = None

    @property
    def agent(self) -> str:
        """The agent's name, else the run's."""
        return self.run.agent_name or self.run.name


SPANS_READ_RUNS = 400
"""Of how many runs the other spans are read: depth and critical path of more are taken from every n-th run."""


def run_shapes(dataset: Dataset, limit: int = SPANS_READ_RUNS) -> list[RunShape]:
    """Return the shape of every run that holds a call.

    Args:
        dataset: what is audited.
        limit: of how many runs the other spans are read, evenly spread; the depth and path of the rest is unknown.
    """
    shapes: list[RunShape] = []
    stride = -(-len(dataset.runs) // limit)
    outlines = dataset.read_outlines([run.run_id for run in dataset.runs[:: max(stride, 1)]])
    for position, run in enumerate(dataset.runs):
        calls = dataset.calls_by_run.get(run.run_id, [])
        tools = dataset.tools_by_run.get(run.run_id, [])
        if calls or tools:
            spans = outlines.get(run.run_id, []) if position % stride == 0 else None
            shape = _shape(run, calls, tools, spans)
            shape.version = dataset.version_of(run)
            shapes.append(shape)
    return shapes


def _shape(
    run: Run, calls: Sequence[CostedCall], tools: Sequence[ToolCallRow], spans: Sequence[SpanOutline] | None
) -> RunShape:
    inputs = [tokens for call in calls if (tokens := call.meters.input_total) is not None]
    largest = max(inputs, default=0)
    total = sum(inputs) + sum(call.output_tokens for call in calls)
    user = max((call.inference.composition.user or 0 for call in calls if call.inference.composition), default=0)
    work = _leaves(calls, tools)
    prices = [cost for call in calls if (cost := call.cost_usd) is not None]
    return RunShape(
        run=run,
        inferences=len(calls),
        tool_calls=len(tools),
        input_tokens=sum(inputs) if inputs or not calls else None,
        cost_usd=sum(prices, ZERO) if prices or not calls else None,
        unpriced=len(calls) - len(prices),
        depth=agent_depth(spans) if spans else None,
        width=width((leaf.start_ns, leaf.end_ns) for leaf in work) if work else None,
        amplification=total / user if user and inputs else None,
        resend=sum(inputs) / largest if largest else None,
        path_ns=None if spans is None else _path(run, work, calls, spans),
    )


def _leaves(calls: Sequence[CostedCall], tools: Sequence[ToolCallRow]) -> list[Work]:
    """Return timed leaves; a tool that holds model calls, as one that runs a sub-agent does, is no leaf."""
    leaves = [
        Work(call.start_ns, call.end_ns, "inference")
        for call in calls
        if call.placement.start_ns is not None and call.placement.end_ns is not None
    ]
    starts = sorted(leaf.start_ns for leaf in leaves)
    for tool in tools:
        start_ns, end_ns = tool.placement.start_ns, tool.placement.end_ns
        if start_ns is None or end_ns is None or end_ns < start_ns:
            continue
        if not _any_within(starts, start_ns, end_ns) or not _holds_call(tool, calls):
            leaves.append(Work(start_ns, end_ns, "tool"))
    return leaves


def _any_within(starts: Sequence[int], low: int, high: int) -> bool:
    from bisect import bisect_left

    position = bisect_left(starts, low)
    return position < len(starts) and starts[position] < high


def _holds_call(tool: ToolCallRow, calls: Sequence[CostedCall]) -> bool:
    start_ns, end_ns = tool.placement.start_ns or 0, tool.placement.end_ns or 0
    return any(start_ns <= call.start_ns and call.end_ns <= end_ns for call in calls)


def _path(
    run: Run, work: Sequence[Work], calls: Sequence[CostedCall], spans: Sequence[SpanOutline]
) -> dict[str, int] | None:
    starts = [moment for moment in (run.start_ns, *(leaf.start_ns for leaf in work)) if moment is not None]
    ends = [moment for moment in (run.end_ns, *(leaf.end_ns for leaf in work)) if moment is not None]
    if not starts or not ends or max(ends) <= min(starts) or not work:
        return None
    path = critical_path_ns(
        min(starts),
        max(ends),
        work,
        [
            (span.start_ns, span.end_ns)
            for span in spans
            if span.kind in CODE_KINDS and span.start_ns is not None and span.end_ns is not None
        ],
    )
    _move(path, "idle", _waited_ns(calls, DependencyKind.HUMAN))
    if all(leaf.kind != "tool" for leaf in work):
        # sources without tool spans still say which gaps were spent in tools
        _move(path, "tool", _waited_ns(calls, DependencyKind.TOOL))
    return path


def _waited_ns(calls: Sequence[CostedCall], kind: DependencyKind) -> int:
    """Return the time that calls waited for others in one way, each call's longest wait once."""
    gaps = ([edge.gap_ns or 0 for edge in call.inference.depends_on if edge.kind is kind] for call in calls)
    return sum(max(found, default=0) for found in gaps)


def _move(path: dict[str, int], kind: str, duration_ns: int) -> None:
    moved = min(duration_ns, path["agent"])
    path["agent"] -= moved
    path[kind] += moved


def agent_depth(spans: Sequence[SpanOutline | Span]) -> int:
    """Return how many agents or workflows are nested in each other at most; 1 where none is marked."""
    by_id = {span.span_id: span for span in spans}
    depths: dict[bytes, int] = {}

    def depth(span: SpanOutline | Span) -> int:
        chain: list[SpanOutline | Span] = []
        at: SpanOutline | Span | None = span
        while at is not None and at.span_id not in depths and len(chain) <= len(by_id):
            chain.append(at)
            at = by_id.get(at.parent_id) if at.parent_id else None
        level = depths.get(at.span_id, 0) if at is not None else 0
        for link in reversed(chain):
            level += link.kind in AGENT_KINDS
            depths[link.span_id] = level
        return level

    return max(1, *(depth(span) for span in spans))


def fanout(shapes: Sequence[RunShape]) -> dict[str, Any]:
    """Return the ``fanout`` part of the audit document."""
    weights = [shape.run.weight or 1.0 for shape in shapes]
    return {
        "inferences_per_run": _over(shapes, weights, lambda shape: shape.inferences),
        "tool_calls_per_run": _over(shapes, weights, lambda shape: shape.tool_calls),
        "input_tokens_per_run": _over(shapes, weights, lambda shape: shape.input_tokens),
        "cost_usd_per_run": _over(shapes, weights, _cost_usd),
        **_unpriced_runs(shapes),
        "depth": _over(shapes, weights, lambda shape: shape.depth),
        "width": _over(shapes, weights, lambda shape: shape.width),
        "amplification": _over(shapes, weights, lambda shape: shape.amplification),
        "context_resend": _over(shapes, weights, lambda shape: shape.resend),
        "critical_path_share": path_share(shapes),
        "critical_path_runs": sum(shape.path_ns is not None for shape in shapes),
        "by_agent": _by_agent(shapes),
        "by_session": _by_session(shapes),
        "by_day": _by_day(shapes),
        "by_version": _by_version(shapes),
    }


def _over(
    shapes: Sequence[RunShape], weights: Sequence[float], value: Callable[[RunShape], float | None]
) -> Distribution:
    known = [
        (found, weight) for shape, weight in zip(shapes, weights, strict=True) if (found := value(shape)) is not None
    ]
    return distribution([found for found, _ in known], [weight for _, weight in known])


def _cost_usd(shape: RunShape) -> float | None:
    return None if shape.cost_usd is None else float(shape.cost_usd)


def _unpriced_runs(shapes: Iterable[RunShape]) -> dict[str, int]:
    """Return how many runs have no cost, and of how many it is a lower bound."""
    counts = {"unpriced_runs": 0.0, "partly_priced_runs": 0.0}
    for shape in shapes:
        if shape.unpriced:
            counts["unpriced_runs" if shape.cost_usd is None else "partly_priced_runs"] += shape.run.weight or 1.0
    return {name: round(number) for name, number in counts.items()}


def path_share(shapes: Iterable[RunShape]) -> dict[str, float | None]:
    """Return the share of all runs' time by kind of what they waited for; None where no run has times."""
    sums = dict.fromkeys(KINDS, 0.0)
    for shape in shapes:
        for kind, duration_ns in (shape.path_ns or {}).items():
            sums[kind] += duration_ns * (shape.run.weight or 1.0)
    total = sum(sums.values())
    return {kind: value / total if total else None for kind, value in sums.items()}


def _summary(shapes: Sequence[RunShape]) -> dict[str, Any]:
    weights = [shape.run.weight or 1.0 for shape in shapes]
    costs = [
        cost * Decimal(repr(weight))
        for shape, weight in zip(shapes, weights, strict=True)
        if (cost := shape.cost_usd) is not None
    ]
    return {
        "runs": round(sum(weights)),
        "inferences_per_run": _over(shapes, weights, lambda shape: shape.inferences),
        "tool_calls_per_run": _over(shapes, weights, lambda shape: shape.tool_calls),
        "input_tokens_per_run": _over(shapes, weights, lambda shape: shape.input_tokens),
        "cost_usd": sum(costs, ZERO) if costs else None,
        "unpriced": round(sum(shape.unpriced * weight for shape, weight in zip(shapes, weights, strict=True))),
        "cost_usd_per_run": _over(shapes, weights, _cost_usd),
    }


def _grouped(shapes: Iterable[RunShape], key: Callable[[RunShape], str | None]) -> dict[str, list[RunShape]]:
    groups: dict[str, list[RunShape]] = defaultdict(list)
    for shape in shapes:
        name = key(shape)
        if name is not None:
            groups[name].append(shape)
    return groups


def _by_agent(shapes: Sequence[RunShape]) -> list[dict[str, Any]]:
    rows = [{"agent": agent, **_summary(group)} for agent, group in _grouped(shapes, lambda shape: shape.agent).items()]
    return sorted(rows, key=lambda row: (-(row["cost_usd"] or ZERO), row["agent"]))


def _by_session(shapes: Sequence[RunShape]) -> dict[str, Any]:
    sessions = _grouped(shapes, lambda shape: shape.run.session_id)
    return {
        "sessions": len(sessions),
        "runs_per_session": distribution([len(group) for group in sessions.values()]),
        "inferences_per_session": distribution([sum(shape.inferences for shape in g) for g in sessions.values()]),
        "cost_usd_per_session": distribution(
            [
                float(sum(costs, ZERO))
                for group in sessions.values()
                if (costs := [shape.cost_usd for shape in group if shape.cost_usd is not None])
            ]
        ),
    }


def day_of(moment_ns: int) -> str:
    """Return the UTC day of a moment."""
    return _day_named(moment_ns // DAY_NS)


@lru_cache(maxsize=4096)
def _day_named(days: int) -> str:
    return (date(1970, 1, 1) + timedelta(days)).isoformat()


def _by_day(shapes: Sequence[RunShape]) -> list[dict[str, Any]]:
    days = _grouped(shapes, lambda shape: day_of(shape.run.start_ns) if is_date(shape.run.start_ns) else None)
    return [{"day": day, **_summary(group)} for day, group in sorted(days.items())]


def _by_version(shapes: Sequence[RunShape]) -> list[dict[str, Any]]:
    versions = _grouped(shapes, lambda shape: shape.version)
    first = {version: min(shape.run.start_ns or 0 for shape in group) for version, group in versions.items()}
    ordered = sorted(versions, key=lambda version: (first[version], version))
    return [{"version": version, **_summary(versions[version])} for version in ordered]
