"""The live page of one run: its spans as a waterfall."""

from __future__ import annotations

from dataclasses import dataclass

from inferometer.analyzer.run_tree import Node, RunTree
from inferometer.reports.environment import environment
from inferometer.reports.live_words import Figure, cost_note, duration, moment, run_state
from inferometer.reports.numbers import bounded, count, tokens, usd
from inferometer.schema.records import SpanKind

SHOWN_BARS = 500


@dataclass(slots=True)
class WaterfallBar:
    """One span of a run: ``x`` and ``width`` are thousandths of the run's time."""

    name: str
    kind: str
    depth: str
    x: str
    width: str
    duration: str
    detail: str
    status: str


@dataclass(slots=True)
class RunPage:
    """One run as a waterfall."""

    run_id: str
    name: str
    subtitle: str
    figures: list[Figure]
    bars: list[WaterfallBar]
    left_out: str


def build_run_page(tree: RunTree) -> RunPage:
    """Return the context of one run's waterfall."""
    summary = tree.summary
    run = summary.run
    nodes = [(node, depth) for root in tree.roots for node, depth in _with_depth(root)]
    starts = [node.span.start_ns for node, _ in nodes if node.span.start_ns is not None]
    ends = [node.span.end_ns for node, _ in nodes if node.span.end_ns is not None]
    begin_ns = min(starts, default=0)
    length_ns = max(max(ends, default=begin_ns) - begin_ns, 1)
    left_out = len(nodes) - SHOWN_BARS
    return RunPage(
        run_id=run.run_id,
        name=run.name,
        subtitle=(
            f"{run.agent_name or run.service or 'unknown agent'}, started {moment(run.start_ns)}, {run_state(run)}"
        ),
        figures=[
            Figure(
                "Cost",
                bounded(summary.cost_usd, summary.unpriced + summary.partial, summary.unsplit),
                cost_note(summary.unpriced, summary.unsplit),
            ),
            Figure("Duration", duration(summary.duration_ns)),
            Figure("Model calls", count(summary.inferences)),
            Figure("Tool calls", count(summary.tool_calls)),
            Figure("Tokens in", tokens(summary.input_tokens)),
            Figure("Tokens out", tokens(summary.output_tokens)),
        ],
        bars=[_waterfall_bar(node, depth, begin_ns, length_ns) for node, depth in nodes[:SHOWN_BARS]],
        left_out=f"{left_out:,} further spans are not shown" if left_out > 0 else "",
    )


def render_run_page(page: RunPage) -> str:
    """Return one run's page as HTML."""
    return environment().get_template("live_run.html.j2").render(page=page)


def _with_depth(root: Node) -> list[tuple[Node, int]]:
    found: list[tuple[Node, int]] = []
    stack = [(root, 0)]
    while stack:
        node, depth = stack.pop()
        found.append((node, depth))
        stack.extend((child, depth + 1) for child in reversed(node.children))
    return found


def _waterfall_bar(node: Node, depth: int, begin_ns: int, length_ns: int) -> WaterfallBar:
    span = node.span
    start_ns = span.start_ns if span.start_ns is not None else begin_ns
    end_ns = span.end_ns if span.end_ns is not None else start_ns
    return WaterfallBar(
        name=span.name,
        kind=span.kind.value,
        depth=str(min(depth, 12)),
        x=f"{1000 * (start_ns - begin_ns) / length_ns:.2f}",
        width=f"{max(1000 * (end_ns - start_ns) / length_ns, 2):.2f}",
        duration=duration(node.duration_ns),
        detail=_detail(node),
        status=span.status.value,
    )


def _detail(node: Node) -> str:
    if node.span.kind is SpanKind.INFERENCE and node.inference is not None:
        call = node.inference.inference
        cost = usd(node.priced.list_cost_usd) if node.priced and call.billable else "not billed here"
        return f"{call.model or 'unknown model'}, {tokens(call.meters.total)} tokens, {cost}"
    return node.span.error_type or ""
