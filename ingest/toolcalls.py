"""Which tool spans are one tool call: a framework's, an MCP client's and an MCP server's view of it count once."""

from __future__ import annotations

from inferometer.ingest.tree import Tree
from inferometer.schema.records import Span, ToolCall


def merge_tool_views(tree: Tree, tools: dict[bytes, ToolCall]) -> dict[bytes, tuple[bytes, str]]:
    """Return for each view that is folded away the one that stays, and why.

    Args:
        tree: the trace.
        tools: its tool calls by span id.
    """
    merged: dict[bytes, tuple[bytes, str]] = {}
    if len(tools) < 2:
        return merged
    above = tree.nearest_above(set(tools))
    for span_id in tree.order:
        outer = above[span_id] if span_id in tools else None
        if outer is not None and _is_same(tools[outer], tools[span_id], tree.spans[span_id]):
            kept = merged[outer][0] if outer in merged else outer
            merged[span_id] = (kept, "another view of the tool call around it")
    by_call: dict[str, list[bytes]] = {}
    for span_id in tree.order:
        call_id = tools[span_id].call_id if span_id in tools and span_id not in merged else None
        if call_id:
            by_call.setdefault(call_id, []).append(span_id)
    for views in by_call.values():
        first = views[0]
        scopes = {tree.spans[first].scope}
        for span_id in views[1:]:
            if tree.spans[span_id].scope not in scopes:
                scopes.add(tree.spans[span_id].scope)
                merged[span_id] = (first, "the same tool call id in another scope")
    for span_id, (kept, reason) in list(merged.items()):
        if kept in merged:
            merged[span_id] = (merged[kept][0], reason)
    return merged


def _is_same(outer: ToolCall, inner: ToolCall, span: Span) -> bool:
    if outer.call_id and inner.call_id and outer.call_id == inner.call_id:
        return True
    return _base_name(outer.name) == _base_name(inner.name) or span.otel_kind == "server"


def _base_name(name: str) -> str:
    """Return a tool's name without the prefixes of MCP servers and of span names."""
    return name.lower().rsplit("__", 1)[-1].rsplit(" ", 1)[-1].rsplit("/", 1)[-1]
