"""Decides about whole traces: what is one call, what is billed, which runs there are, who waited for whom.

Pure, and the same for every order of arrival; each decision says why.
"""

from __future__ import annotations

from inferometer.ingest.continuations import continue_runs
from inferometer.ingest.dependencies import infer_dependencies
from inferometer.ingest.duplicates import Verdict, decide
from inferometer.ingest.joins import join_logs
from inferometer.ingest.runs import build_runs, run_roots
from inferometer.ingest.toolcalls import merge_tool_views
from inferometer.ingest.tree import Tree
from inferometer.schema.ids import run_id_of
from inferometer.schema.records import (
    Decisions,
    Dependency,
    Inference,
    InferenceDecision,
    RecordBatch,
    Span,
    SpanKind,
    ToolCall,
    ToolCallDecision,
)


def resolve(batch: RecordBatch, now_ns: int) -> Decisions:
    """Return what is decided about the spans of whole traces.

    Args:
        batch: all that is known of these traces, each span once.
        now_ns: nanoseconds since 1970; runs that were quiet long enough before it are closed.
    """
    spans: dict[bytes, list[Span]] = {}
    calls: dict[bytes, dict[bytes, Inference]] = {}
    tools: dict[bytes, dict[bytes, ToolCall]] = {}
    for span in batch.spans:
        spans.setdefault(span.trace_id, []).append(span)
    for call in batch.inferences:
        calls.setdefault(call.trace_id, {})[call.span_id] = call
    for tool in batch.tool_calls:
        tools.setdefault(tool.trace_id, {})[tool.span_id] = tool
    decisions = Decisions()
    for trace_id, members in spans.items():
        _resolve_trace(Tree(members), calls.get(trace_id, {}), tools.get(trace_id, {}), now_ns, decisions)
    continue_runs(batch, decisions)
    join_logs(batch, decisions)
    return decisions


def _resolve_trace(
    tree: Tree, calls: dict[bytes, Inference], tools: dict[bytes, ToolCall], now_ns: int, decisions: Decisions
) -> None:
    calls = {span_id: call for span_id, call in calls.items() if span_id in tree.spans}
    tools = {span_id: tool for span_id, tool in tools.items() if span_id in tree.spans}
    verdicts = decide(tree, calls)
    merged_tools = merge_tool_views(tree, tools)
    places = {
        span_id: verdict.place
        for span_id, verdict in verdicts.items()
        if verdict.place is not None and verdict.place != span_id
    }
    places.update({span_id: kept for span_id, (kept, _) in merged_tools.items()})
    roots = run_roots(tree, places)
    runs = build_runs(tree, roots, now_ns)
    decisions.runs.extend(runs)
    trace_id = next(iter(tree.spans.values())).trace_id
    run_ids = {root: run_id_of(trace_id, root) for root in set(roots.values())}
    for span_id, root in roots.items():
        decisions.run_ids[(trace_id, span_id)] = run_ids[root]
    agents, depth = _agents(tree)
    depth = {span_id: depth[places.get(span_id, span_id)] for span_id in tree.order}
    edges = _edges(tree, calls, tools, verdicts, roots, depth)
    for span_id, call in calls.items():
        verdict = verdicts[span_id]
        decisions.inferences.append(
            InferenceDecision(
                trace_id,
                span_id,
                call.billable and verdict.billable,
                verdict.merged_into,
                [*call.reasons, *verdict.reasons],
                tree.spans[span_id].agent_name or agents[places.get(span_id, span_id)],
                edges.get(span_id, []),
            )
        )
    for span_id, tool in tools.items():
        kept, reason = merged_tools.get(span_id, (None, None))
        reasons = [*tool.reasons, reason] if reason else list(tool.reasons)
        decisions.tool_calls.append(
            ToolCallDecision(
                trace_id, span_id, kept, reasons, tree.spans[span_id].agent_name or agents[kept or span_id]
            )
        )


def _agents(tree: Tree) -> tuple[dict[bytes, str | None], dict[bytes, int]]:
    """Return for each span the name of the nearest agent around it and how many agents are around it."""
    names: dict[bytes, str | None] = {}
    depth: dict[bytes, int] = {}
    for span_id in tree.order:
        span, parent_id = tree.spans[span_id], tree.parent[span_id]
        inherited = names[parent_id] if parent_id is not None else None
        is_agent = span.kind is SpanKind.AGENT
        names[span_id] = (span.agent_name or inherited) if is_agent else inherited
        depth[span_id] = (depth[parent_id] if parent_id is not None else 0) + is_agent
    return names, depth


def _edges(
    tree: Tree,
    calls: dict[bytes, Inference],
    tools: dict[bytes, ToolCall],
    verdicts: dict[bytes, Verdict],
    roots: dict[bytes, bytes],
    depth: dict[bytes, int],
) -> dict[bytes, list[Dependency]]:
    """Return inferred edges of the runs whose source gave none."""
    billed: dict[bytes, list[Span]] = {}
    run_tools: dict[bytes, list[Span]] = {}
    stated: set[bytes] = set()
    for span_id, call in calls.items():
        root = roots.get(span_id, span_id)
        if call.depends_on:
            stated.add(root)
        if verdicts[span_id].billable:
            billed.setdefault(root, []).append(tree.spans[span_id])
    for span_id in tools:
        run_tools.setdefault(roots.get(span_id, span_id), []).append(tree.spans[span_id])
    edges: dict[bytes, list[Dependency]] = {}
    for root, spans in billed.items():
        if root not in stated and len(spans) > 1:
            edges.update(infer_dependencies(spans, run_tools.get(root, []), depth))
    return edges
