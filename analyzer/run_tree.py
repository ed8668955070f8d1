"""One run as a tree."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from inferometer.analyzer.doubles import possible_doubles
from inferometer.analyzer.open_meters import is_unsplit
from inferometer.analyzer.runs import RunSummary
from inferometer.profiles.prices import Priced, PriceList
from inferometer.schema.records import Span, ToolCall
from inferometer.schema.rows import InferenceRow
from inferometer.schema.selection import Selection
from inferometer.store import Store

_ZERO = Decimal(0)


@dataclass(slots=True)
class Node:
    """One span of a run with what is known of it; children in order of their start.

    ``possible_double`` is a call of another trace that may be the same one.
    """

    span: Span
    inference: InferenceRow | None = None
    priced: Priced | None = None
    tool_call: ToolCall | None = None
    possible_double: InferenceRow | None = None
    children: list[Node] = field(default_factory=list)

    @property
    def duration_ns(self) -> int | None:
        """Nanoseconds from start to end; None where either is unknown."""
        span = self.span
        return None if span.start_ns is None or span.end_ns is None else span.end_ns - span.start_ns

    @property
    def is_counted(self) -> bool:
        """Whether this is a billable call."""
        return self.inference is not None and self.inference.inference.billable

    def cost_usd(self) -> Decimal | None:
        """Return the list cost of the billable calls at and below this span; None where none is priced."""
        parts = [node.priced.list_cost_usd for node in self.walk() if node.is_counted and node.priced]
        known = [part for part in parts if part is not None]
        return sum(known, start=_ZERO) if known else None

    @property
    def left_out(self) -> int:
        """Billable calls at and below this span of whose cost a part or all is unknown."""
        counted = (node.priced for node in self.walk() if node.is_counted)
        return sum(priced is None or priced.list_cost_usd is None or priced.partial for priced in counted)

    @property
    def unsplit(self) -> int:
        """Billable calls at and below this span that do not say what came from a cache."""
        counted = ((node.inference, node.priced) for node in self.walk() if node.is_counted)
        return sum(
            row is not None and priced is not None and is_unsplit(row.inference, priced.card) for row, priced in counted
        )

    def walk(self) -> list[Node]:
        """Return this node and all below it, parents first."""
        nodes = [self]
        for node in nodes:
            nodes.extend(node.children)
        return nodes

    def as_dict(self) -> dict[str, Any]:
        """Return the node of the ``show`` document, its children left out."""
        span = self.span
        document: dict[str, Any] = {
            "span_id": span.span_id,
            "parent_id": span.parent_id,
            "kind": span.kind.value,
            "name": span.name,
            "agent": span.agent_name,
            "start_ns": span.start_ns,
            "duration_s": None if self.duration_ns is None else self.duration_ns / 1e9,
            "status": span.status.value,
            "error_type": span.error_type,
            "dialect": span.dialect,
        }
        if self.inference is not None:
            document["inference"] = _inference_document(self.inference, self.priced)
            double = self.possible_double
            document["inference"]["possible_double"] = double and {
                "run_id": double.placement.run_id,
                "trace_id": double.inference.trace_id,
                "span_id": double.inference.span_id,
            }
        if self.tool_call is not None:
            tool = self.tool_call
            document["tool_call"] = {
                "name": tool.name,
                "kind": tool.kind,
                "result_tokens": tool.result_tokens,
                "error": tool.error,
                "merged_into": tool.merged_into,
                "reasons": tool.reasons,
            }
        return document


def _inference_document(row: InferenceRow, priced: Priced | None) -> dict[str, Any]:
    call = row.inference
    document: dict[str, Any] = {
        "provider": call.provider,
        "model": call.model,
        "operation": call.operation.value,
        "meters": call.meters.as_dict(),
        "usage_source": call.usage_source.value,
        "service_tier": call.service_tier,
        "ttft_s": None if call.ttft_ns is None else call.ttft_ns / 1e9,
        "finish_reason": call.finish_reason,
        "attempts": len(call.attempts) or None,
        "recorded_cost_usd": call.recorded_cost_usd,
        "billable": call.billable,
        "merged_into": call.merged_into,
        "reasons": call.reasons,
        "depends_on": [
            {"span_id": edge.span_id, "kind": edge.kind.value, "gap_ns": edge.gap_ns} for edge in call.depends_on
        ],
    }
    if priced is not None:
        card = priced.card
        document["price"] = {
            "list_cost_usd": priced.list_cost_usd,
            "contracted_cost_usd": priced.contracted_cost_usd,
            "effective_cost_usd": priced.effective_cost_usd,
            "cost_by_meter_usd": dict(priced.cost_by_meter_usd),
            "reason": priced.reason,
            "notes": list(priced.notes),
            "list": card and card.list_name,
            "list_version": card and card.list_version,
            "list_day": card and card.as_of and card.as_of.isoformat(),
            "tier": card and card.tier,
            "model": card and f"{card.provider}/{card.model}",
        }
    return document


@dataclass(slots=True)
class RunTree:
    """One run: its summary, and the tree of its spans (several roots where parents are missing)."""

    summary: RunSummary
    roots: list[Node]

    def as_dict(self) -> dict[str, Any]:
        """Return the ``show`` document: spans parents first, each naming its parent."""
        spans = [node.as_dict() for root in self.roots for node in _depth_first(root)]
        return {"run": self.summary.as_dict(), "spans": spans}


def load_tree(store: Store, prices: PriceList, run_id: str) -> RunTree:
    """Return the run whose id begins with a text, as a tree.

    Raises:
        UnknownNameError: there is none.
        UserError: there are several.
    """
    run = store.find_run(run_id)
    selection = Selection(where=(("run", run.run_id),))
    nodes = {(span.trace_id, span.span_id): Node(span) for span in store.spans_of_run(run.run_id)}
    summary = RunSummary(run)
    for row in store.inferences(selection, billable_only=False):
        node = nodes.get((row.inference.trace_id, row.inference.span_id))
        if node is None:
            continue
        node.inference, node.priced = row, prices.price(row)
        if row.inference.billable:
            summary.add(row, node.priced)
    for tool in store.tool_calls(selection):
        node = nodes.get((tool.tool_call.trace_id, tool.tool_call.span_id))
        if node is not None:
            node.tool_call = tool.tool_call
            summary.add_tool(tool)
    counted = [node.inference for node in nodes.values() if node.inference is not None and node.is_counted]
    for key, double in possible_doubles(store, counted).items():
        nodes[key].possible_double = double
    return RunTree(summary, _linked(list(nodes.values())))


def _linked(nodes: list[Node]) -> list[Node]:
    """Hang nodes under their parents and return those without one; a cycle is cut where it is entered."""
    by_id = {(node.span.trace_id, node.span.span_id): node for node in nodes}
    children: dict[int, list[Node]] = defaultdict(list)
    roots = []
    for node in nodes:
        parent_id = node.span.parent_id
        parent = by_id.get((node.span.trace_id, parent_id)) if parent_id is not None else None
        if parent is None or parent is node:
            roots.append(node)
        else:
            children[id(parent)].append(node)
    reached: set[int] = set()
    stack = list(roots)
    waiting = iter(nodes)
    while True:
        while stack:
            node = stack.pop()
            reached.add(id(node))
            node.children = [child for child in children[id(node)] if id(child) not in reached]
            reached.update(map(id, node.children))
            stack.extend(node.children)
        left = next((node for node in waiting if id(node) not in reached), None)
        if left is None:
            return roots
        roots.append(left)
        stack.append(left)


def _depth_first(root: Node) -> list[Node]:
    nodes, stack = [], [root]
    while stack:
        node = stack.pop()
        nodes.append(node)
        stack.extend(reversed(node.children))
    return nodes
