"""Waste around tools: calls repeated for nothing, results too large to carry, schemas that nobody calls."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal

from inferometer.analyzer.audit_repricing import input_cost_usd
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.waste import Evidence, Examined, Finding, evidence_of, evidence_of_tool, finding
from inferometer.schema.rows import ToolCallRow
from inferometer.schema.wording import counted

LARGE_RESULT_TOKENS = 8_000
"""A tool result from here on is called oversized; the median append of a coding agent's step is 870 tokens."""


def loops(examined: Examined) -> list[Finding]:
    """Find tool calls that repeat the one before (A A) or the one before that (A B A B) with the same arguments."""
    dataset = examined.dataset
    evidence: dict[str, list[Evidence]] = defaultdict(list)
    calls: dict[str, float] = defaultdict(float)
    tokens: dict[str, float] = defaultdict(float)
    for run_id, tools in dataset.tools_by_run.items():
        for tool, kind in repeated(tools):
            asked = issuer(tool, dataset.calls_by_run.get(run_id, []))
            used = None if asked is None else asked.input_tokens + asked.output_tokens
            cost = None if asked is None else asked.cost_usd
            calls[kind] += tool.placement.weight or 1.0
            tokens[kind] += (used or 0) * (tool.placement.weight or 1.0)
            evidence[kind].append(evidence_of_tool(tool, f"{tool.tool_call.name} again, same arguments", used, cost))
    titles = {"exact": "The same tool call twice in a row", "alternating": "Two tool calls in turns, without progress"}
    method = (
        "Tool calls with equal name and argument fingerprint as the one before (or, in turns, the one before that, at "
        "least twice round); the cost is that of the model calls that asked for them."
    )
    return [
        one
        for kind, found in evidence.items()
        for one in finding(f"loop_{kind}", titles[kind], method, found, calls[kind], tokens[kind])
    ]


def repeated(tools: Sequence[ToolCallRow]) -> list[tuple[ToolCallRow, str]]:
    """Return the tool calls that are repetitions, each with its kind: exact or alternating."""
    marks = [
        (tool.tool_call.name, tool.tool_call.argument_fingerprint) if tool.tool_call.argument_fingerprint else None
        for tool in tools
    ]
    found = []
    for index, mark in enumerate(marks):
        if mark is None or index == 0:
            continue
        if marks[index - 1] == mark and not _overlap(tools[index - 1], tools[index]):
            found.append((tools[index], "exact"))
        elif index >= 3 and marks[index - 2] == mark and marks[index - 1] == marks[index - 3] is not None:
            found.append((tools[index], "alternating"))
    return found


def _overlap(one: ToolCallRow, other: ToolCallRow) -> bool:
    """Whether two calls ran side by side, as a map over equal inputs does; those are fan-out, not a loop."""
    if one.placement.end_ns is None or other.placement.start_ns is None:
        return False
    return other.placement.start_ns < one.placement.end_ns


def issuer(tool: ToolCallRow, calls: Sequence[CostedCall]) -> CostedCall | None:
    """Return the model call that asked for a tool call: the last that ended before it began."""
    if tool.placement.start_ns is None:
        return None
    before = [call for call in calls if call.end_ns <= tool.placement.start_ns]
    return max(before, key=lambda call: call.end_ns, default=None)


def carriers(tool: ToolCallRow, calls: Sequence[CostedCall]) -> list[CostedCall]:
    """Return the later calls of the same agent that carried a tool's result: up to where the input shrank below it."""
    end_ns = tool.placement.end_ns
    if end_ns is None:
        return []
    size = tool.tool_call.result_tokens or 0
    agent = tool.placement.agent_name
    kept: list[CostedCall] = []
    for index in range(bisect_left(calls, end_ns, key=lambda call: call.start_ns), len(calls)):
        call = calls[index]
        if call.placement.agent_name != agent:
            continue
        if call.input_tokens < size or (kept and call.input_tokens < kept[-1].input_tokens // 2):
            break
        kept.append(call)
    return kept


def carried_cost(tool: ToolCallRow, calls: Sequence[CostedCall], tokens: int) -> tuple[int, Decimal | None]:
    """Return the token-times and dollars that carrying a part of a tool's result took."""
    cost, known, carried = ZERO, False, 0
    for index, call in enumerate(carriers(tool, calls)):
        spent = input_cost_usd(call, tokens, fresh_first=index == 0)
        carried += tokens
        if spent is not None:
            cost += spent
            known = True
    return carried, cost if known else None


def oversized_results(examined: Examined) -> list[Finding]:
    """Find tool results so large that carrying them through later calls is a cost of its own."""
    dataset = examined.dataset
    evidence = []
    calls, tokens = 0.0, 0.0
    for run_id, tools in dataset.tools_by_run.items():
        in_run = dataset.calls_by_run.get(run_id, [])
        for tool in tools:
            size = tool.tool_call.result_tokens
            if size is None or size < LARGE_RESULT_TOKENS:
                continue
            carried, cost = carried_cost(tool, in_run, size)
            calls += tool.placement.weight or 1.0
            tokens += carried * (tool.placement.weight or 1.0)
            times = carried // size
            evidence.append(
                evidence_of_tool(
                    tool, f"{tool.tool_call.name}: {size:,} tokens, carried by {counted(times, 'call')}", carried, cost
                )
            )
    method = (
        f"Results of {LARGE_RESULT_TOKENS:,} tokens or more, times the later calls of the same agent that carried "
        "them, at what their tokens cost there. What of a result is used again cannot be seen without its content."
    )
    return finding("oversized_tool_result", "Tool results too large to carry", method, evidence, calls, tokens)


def unused_tools(examined: Examined) -> list[Finding]:
    """Find tool schemas that an agent sent with its calls and never called in the whole window."""
    dataset = examined.dataset
    called: dict[str | None, set[str]] = defaultdict(set)
    for tool in dataset.tool_calls:
        called[tool.placement.agent_name].add(tool.tool_call.name)
    evidence: list[Evidence] = []
    calls, tokens = 0.0, 0.0
    for call in dataset.calls:
        agent = call.placement.agent_name
        if not called.get(agent):
            continue
        unused = [offered for offered in call.inference.tools_offered if offered.name not in called[agent]]
        weight = sum(offered.tokens or 0 for offered in unused)
        if not weight:
            continue
        cost = input_cost_usd(call, weight)
        names = ", ".join(sorted(offered.name for offered in unused)[:5])
        calls += call.weight
        tokens += weight * call.weight
        evidence.append(evidence_of(call, f"{counted(len(unused), 'schema')} never called: {names}", weight, cost))
    method = (
        "Tokens of tool definitions whose tool the agent called not once in the window, at the price of what they are "
        "on each call: cache reads first, else fresh input."
    )
    return finding("unused_tool_schema", "Tool schemas that are sent and never called", method, evidence, calls, tokens)
