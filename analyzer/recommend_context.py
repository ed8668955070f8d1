"""Proposals that shorten input: cut tool results, clear old ones, leave out unused schemas, stop loops."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_repricing import changed_inference, dropped, less_input, with_meters
from inferometer.analyzer.costed_call import ZERO, CostedCall, PriceCall
from inferometer.analyzer.recommend import Proposal
from inferometer.analyzer.waste import Examined
from inferometer.analyzer.waste_cache import threads
from inferometer.analyzer.waste_tools import carriers, issuer, repeated
from inferometer.schema.wording import counted

RESULT_CAP_TOKENS = {"low": 8_000, "mid": 4_000, "high": 2_000}
"""Caps on a tool result; 4,000 tokens hold some 300 lines of code."""
KEPT_RESULT_TOKENS = {"low": 40_000, "mid": 30_000, "high": 20_000}
"""What of the tool results stays in the context when old ones are cleared."""
CLEARING_STEP_TOKENS = 20_000
"""Results are cleared in steps of at least this, since each step breaks the cached prefix."""

Carried = tuple[int, list[tuple[bytes, bytes]]]
"""Tokens of a tool result, and the keys of the calls that carried it, the one that brought it in first."""
CutOf = dict[tuple[bytes, bytes], tuple[int, int]]
Held = dict[tuple[bytes, bytes], int]


def context_proposals(examined: Examined) -> list[Proposal]:
    """Return the proposals that the calls give reason for."""
    found = []
    dataset = examined.dataset
    if any((tool.tool_call.result_tokens or 0) > RESULT_CAP_TOKENS["high"] for tool in dataset.tool_calls):
        found.append(_truncation(dataset))
    held = results_held(dataset)
    if any(_results(call, held) > KEPT_RESULT_TOKENS["high"] for call in dataset.calls):
        found.append(_clearing(dataset, held))
    if any(call.inference.tools_offered for call in dataset.calls) and dataset.tool_calls:
        found.append(_fewer_tools(dataset))
    if any(repeated(tools) for tools in dataset.tools_by_run.values()):
        found.append(_no_loops(dataset))
    return found


def _truncation(dataset: Dataset) -> Proposal:
    carried = results_carried(dataset, min(RESULT_CAP_TOKENS.values()))

    def variant(level: str) -> Callable[[Sequence[CostedCall]], list[CostedCall]]:
        cuts = result_cuts(carried, RESULT_CAP_TOKENS[level])
        return lambda calls: [_cut(call, cuts, dataset.price) for call in calls]

    return Proposal(
        id="truncate_tool_results",
        title="Cut tool results where they are made",
        apply=variant("mid"),
        apply_low=variant("low"),
        apply_high=variant("high"),
        action=f"Return at most {RESULT_CAP_TOKENS['mid']:,} tokens from a tool, with a way to ask for the rest.",
        method="What each result holds above the cap is taken out of every later call of the agent that carried it: "
        "fresh "
        f"input of the first, cache reads of the others. Caps of {RESULT_CAP_TOKENS['low']:,}, "
        f"{RESULT_CAP_TOKENS['mid']:,} and {RESULT_CAP_TOKENS['high']:,} tokens give low, mid and high.",
        order=10,
        preconditions=[
            "result sizes are in the traces",
            "the agent's behaviour is held fixed; a result that is cut too short may cost a second call",
        ],
        effort="medium: a change in each large tool",
        latency_effect="prefill shortens with the input",
        confidence="recount, behaviour held fixed",
    )


def results_carried(dataset: Dataset, above_tokens: int) -> list[Carried]:
    """Return the tool results above a size, each with its tokens and the calls that carried it, in order."""
    found: list[Carried] = []
    for run_id, tools in dataset.tools_by_run.items():
        in_run = dataset.calls_by_run.get(run_id, [])
        for tool in tools:
            size = tool.tool_call.result_tokens or 0
            if size > above_tokens:
                found.append((size, [call.key for call in carriers(tool, in_run)]))
    return found


def result_cuts(results: Iterable[Carried], cap_tokens: int) -> CutOf:
    """Return, by call, the tokens of tool results above a cap: those brought in fresh, and those carried along."""
    cuts: dict[tuple[bytes, bytes], list[int]] = defaultdict(lambda: [0, 0])
    for size, keys in results:
        if size > cap_tokens:
            for index, key in enumerate(keys):
                cuts[key][index > 0] += size - cap_tokens
    return {key: (fresh, carried) for key, (fresh, carried) in cuts.items()}


def _cut(call: CostedCall, cuts: CutOf, price: PriceCall) -> CostedCall:
    fresh, carried = cuts.get(call.key, (0, 0))
    if fresh:
        call = less_input(call, price, fresh, fresh_first=True)
    return less_input(call, price, carried) if carried else call


def results_held(dataset: Dataset) -> Held:
    """Return, by call that does not say what its input is made of, the tokens of tool results in it at most.

    Those are the results that the same agent got in the run before, and no more than the input grew since the
    conversation began, or since it shrank to less than half. Calls that hold none are left out.
    """
    found: Held = {}
    for thread in threads(dataset.calls):
        run_id, agent = thread[0].placement.run_id, thread[0].placement.agent_name
        ended = sorted(
            (tool.placement.end_ns, tool.tool_call.result_tokens)
            for tool in dataset.tools_by_run.get(run_id or "", [])
            if tool.placement.agent_name == agent and tool.placement.end_ns and tool.tool_call.result_tokens
        )
        place = held = before = 0
        first = thread[0].input_tokens
        for call in thread:
            if call.input_tokens < before // 2:
                held, first = 0, call.input_tokens
            while place < len(ended) and ended[place][0] <= call.start_ns:
                held += ended[place][1]
                place += 1
            before = call.input_tokens
            most = min(held, call.input_tokens - first)
            if most > 0 and call.inference.composition is None:
                found[call.key] = most
    return found


def _results(call: CostedCall, held: Held) -> int:
    composition = call.inference.composition
    return (composition.tool_results or 0) if composition else held.get(call.key, 0)


def _clearing(dataset: Dataset, held: Held) -> Proposal:
    def variant(level: str, held: Held) -> Callable[[Sequence[CostedCall]], list[CostedCall]]:
        return lambda calls: cleared(calls, dataset.price, KEPT_RESULT_TOKENS[level], held)

    grounds = ["the composition of inputs is in the traces"]
    if held:
        verb = "does not" if len(held) == 1 else "do not"
        grounds = [
            f"{counted(len(held), 'call')} {verb} say what the input is made of: the tool results before stand in, no "
            "more of them than the input grew; the low figure leaves those calls out"
        ]
    return Proposal(
        id="clear_old_results",
        title="Clear old tool results from the context",
        apply=variant("mid", held),
        apply_low=variant("low", {}),
        apply_high=variant("high", held),
        action=f"Keep about {KEPT_RESULT_TOKENS['mid']:,} tokens of tool results and clear the oldest, in steps of "
        f"{CLEARING_STEP_TOKENS:,} tokens.",
        method="Each conversation is gone through call by call: what is cleared leaves all later inputs; the call "
        "after a "
        "clearing pays its history again as a cache write, because the prefix has changed. Kept only where the bill "
        "falls.",
        order=20,
        preconditions=[
            *grounds,
            "the agent's behaviour is held fixed; published tests find equal or better solve rates (arXiv 2508.21433)",
        ],
        effort="low where the provider edits contexts, else medium",
        latency_effect="prefill shortens; the call after a clearing is slower",
        exclusive_with=("truncate_tool_results",),
        confidence="estimated, behaviour held fixed" if held else "recount, behaviour held fixed",
    )


def cleared(calls: Sequence[CostedCall], price: PriceCall, keep_tokens: int, held: Held) -> list[CostedCall]:
    """Return the calls with old tool results cleared, net of writing the changed prefix again."""
    replaced: dict[tuple[bytes, bytes], CostedCall] = {}
    for thread in threads(calls):
        after, gone = [], 0
        for call in thread:
            results = _results(call, held)
            if results < gone:
                gone = 0
            edit = results - gone - keep_tokens >= CLEARING_STEP_TOKENS
            if edit:
                gone = results - keep_tokens
            after.append(_without(call, price, gone, edit))
        if sum((c.weighted_cost_usd for c in after), ZERO) < sum((c.weighted_cost_usd for c in thread), ZERO):
            replaced.update({call.key: call for call in after})
    return [replaced.get(call.key, call) for call in calls]


def _without(call: CostedCall, price: PriceCall, gone: int, edit: bool) -> CostedCall:
    if not gone:
        return call
    composition = call.inference.composition
    smaller, stable = less_input(call, price, gone), 0
    if composition is not None:
        left = replace(composition, tool_results=(composition.tool_results or 0) - gone)
        smaller = changed_inference(smaller, replace(smaller.inference, composition=left), price)
        stable = (composition.system or 0) + (composition.tools or 0)
    if not edit:
        return smaller
    meters = smaller.meters
    lost = max(0, (meters.cache_read or 0) - stable)
    if not lost:
        return smaller
    return with_meters(
        smaller, price, cache_read=(meters.cache_read or 0) - lost, cache_write_5m=(meters.cache_write_5m or 0) + lost
    )


def _fewer_tools(dataset: Dataset) -> Proposal:
    by_agent: dict[str | None, set[str]] = defaultdict(set)
    for tool in dataset.tool_calls:
        by_agent[tool.placement.agent_name].add(tool.tool_call.name)
    anywhere = set().union(*by_agent.values())

    def offering_less(call: CostedCall, everywhere: bool, fresh_first: bool) -> CostedCall:
        called = by_agent.get(call.placement.agent_name)
        if not called:
            return call
        names = anywhere if everywhere else called
        offered = call.inference.tools_offered
        kept = [tool for tool in offered if tool.name in names]
        gone = sum(tool.tokens or 0 for tool in offered) - sum(tool.tokens or 0 for tool in kept)
        if not gone:
            return call
        smaller = less_input(call, dataset.price, gone, fresh_first=fresh_first)
        return changed_inference(smaller, replace(smaller.inference, tools_offered=kept), dataset.price)

    def variant(everywhere: bool, fresh_first: bool) -> Callable[[Sequence[CostedCall]], list[CostedCall]]:
        return lambda calls: [offering_less(call, everywhere, fresh_first) for call in calls]

    return Proposal(
        id="drop_unused_tools",
        title="Leave out tools that are never called",
        apply=variant(False, False),
        apply_low=variant(True, False),
        apply_high=variant(False, True),
        action="Offer each agent only the tools it calls, or load definitions on demand.",
        method="Tokens of schemas that the agent never called in the window are taken out of its calls, from cache "
        "reads "
        "first; low leaves in what any agent calls, high takes them from fresh input.",
        order=5,
        preconditions=[
            "schema sizes are in the traces",
            "a tool that is needed once a month is unused in a short window",
        ],
        effort="low: a list in the agent's configuration",
        latency_effect="prefill shortens with the input",
    )


def _no_loops(dataset: Dataset) -> Proposal:
    exact: list[tuple[bytes, bytes]] = []
    turns: list[tuple[bytes, bytes]] = []
    for run_id, tools in dataset.tools_by_run.items():
        for tool, kind in repeated(tools):
            asked = issuer(tool, dataset.calls_by_run.get(run_id, []))
            if asked is not None:
                (exact if kind == "exact" else turns).append(asked.key)

    def without(keys: Sequence[tuple[bytes, bytes]]) -> Callable[[Sequence[CostedCall]], list[CostedCall]]:
        gone = frozenset(keys)
        return lambda calls: [
            dropped(call, dataset.price) if call.key in gone and call.cost_usd is not None else call for call in calls
        ]

    return Proposal(
        id="stop_loops",
        title="Stop agents that repeat themselves",
        apply=without(exact),
        apply_low=without(exact[::2]),
        apply_high=without([*exact, *turns]),
        action="Refuse a tool call equal to the one before it and tell the model so; cap the steps of a run.",
        method="The model calls that asked for a repeated tool call fall away; low takes half of them, high also those "
        "of "
        "two calls in turns.",
        order=1,
        preconditions=[
            "argument fingerprints are in the traces",
            "repeating a call has no purpose of its own, as polling has",
        ],
        effort="low: a guard in the tool loop",
        latency_effect="runs end sooner",
        confidence="recount, behaviour held fixed",
    )
