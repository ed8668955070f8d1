"""Waste around prompt caches: prefixes sent again at full price, prefixes that changed, writes that nobody read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from heapq import nlargest
from itertools import combinations, pairwise

import numpy as np

from inferometer.analyzer.audit_repricing import priced_with, with_meters
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.waste import (
    CacheRule,
    Evidence,
    Examined,
    Finding,
    evidence_of,
    finding,
)
from inferometer.analyzer.waste_prefix import (
    Counts,
    ReachColumns,
    pool_of,
    reach_columns,
    seen_share,
    shared_blocks,
    tokens_of,
    with_chains,
)

NS = 1_000_000_000
BROKEN_SHARE = 0.5
"""A prefix counts as broken where two calls in a row share less than half of what the first had sent."""


@dataclass(slots=True, frozen=True)
class Reached:
    """The calls with a chain that one provider's rule is for, and how far its cache would have reached."""

    rule: CacheRule
    calls: list[CostedCall]
    reach: ReachColumns


def reach_by_rule(examined: Examined) -> list[Reached]:
    """Return the chained calls whose provider caches prompts at all, by rule."""
    if examined.reach is None:
        by_rule: dict[CacheRule, list[CostedCall]] = defaultdict(list)
        for call in with_chains(examined.dataset.calls):
            rule = examined.cache_rule(call)
            if rule is not None:
                by_rule[rule].append(call)
        examined.reach = [
            Reached(rule, calls, reach_columns(calls, int(rule.ttl_s * NS))) for rule, calls in by_rule.items()
        ]
    return examined.reach


def resent_share(examined: Examined) -> float | None:
    """Return `reuse_share` of all calls; what was sent before is taken from the rules that cover their pools whole."""
    reached = reach_by_rule(examined)
    covered = {call.key for one in reached for call in one.calls}
    chained = with_chains(examined.dataset.calls)
    split = {pool_of(call) for call in chained if call.key not in covered}
    split |= {pool for one, other in combinations(reached, 2) for pool in one.reach.pools & other.reach.pools}
    whole = [one for one in reached if not one.reach.pools & split]
    covered = {call.key for one in whole for call in one.calls}
    rest = [call for call in chained if call.key not in covered]
    return seen_share([*((one.calls, one.reach) for one in whole), (rest, reach_columns(rest, None))])


def cacheable(tokens: int, rule: CacheRule) -> int:
    """Return how many tokens of a prefix a provider caches: whole grains, and nothing below its minimum."""
    whole = tokens - tokens % max(rule.grain_tokens, 1)
    return whole if whole >= rule.minimum_tokens else 0


def cacheable_columns(tokens: Counts, rule: CacheRule) -> Counts:
    """Return `cacheable` of every call."""
    whole = tokens - tokens % max(rule.grain_tokens, 1)
    return np.where(whole >= rule.minimum_tokens, whole, 0)


def prefix_resent(examined: Examined) -> list[Finding]:
    """Find input that the provider's cache could have served and that was paid as fresh."""
    dataset = examined.dataset
    missed_by: list[tuple[Decimal, CostedCall, CacheRule, int]] = []
    calls, tokens, unsaid = 0.0, 0.0, False
    for reached in reach_by_rule(examined):
        for call, missed in _missed(reached):
            meters, cost = call.meters, call.cost_usd
            served = priced_with(
                call,
                dataset.price,
                input_fresh=(meters.input_fresh or 0) - missed,
                cache_read=(meters.cache_read or 0) + missed,
            ).effective_cost_usd
            if cost is None or served is None:
                continue
            unsaid = unsaid or meters.cache_read is None
            calls += call.weight
            tokens += missed * call.weight
            missed_by.append((cost - call.extra_usd - served, call, reached.rule, missed))
    if not missed_by:
        return []
    evidence = [
        evidence_of(call, f"{missed:,} tokens were in {rule.name}'s reach{_unsaid(call)}", missed, cost)
        for cost, call, rule, missed in nlargest(
            examined.evidence_limit, missed_by, key=lambda item: (item[0], item[1].key)
        )
    ]
    return [
        Finding(
            "prefix_resent",
            "Context sent again at full price",
            round(calls),
            round(tokens),
            sum(
                (cost if call.weight == 1 else cost * Decimal(repr(call.weight)) for cost, call, *_ in missed_by), ZERO
            ),
            "Input whose prefix blocks an earlier call of the same model had sent within the provider's time to live, "
            "of at least its minimum length, priced fresh minus priced as a cache read.",
            evidence,
            estimated=unsaid,
        )
    ]


def _missed(reached: Reached) -> list[tuple[CostedCall, int]]:
    """Return the priced calls that a cache would have served more of, and how many fresh tokens more."""
    meters = [call.meters for call in reached.calls]
    inputs = np.array([call.input_tokens for call in reached.calls], np.int64)
    read = np.array([one.cache_read or 0 for one in meters], np.int64)
    fresh = np.array([one.input_fresh or 0 for one in meters], np.int64)
    held = cacheable_columns(reached.reach.tokens_of(reached.reach.alive, inputs), reached.rule)
    missed = np.minimum(held - read, fresh)
    found = ((reached.calls[place], int(missed[place])) for place in np.flatnonzero(missed > 0).tolist())
    return [(call, tokens) for call, tokens in found if call.cost_usd is not None]


def _unsaid(call: CostedCall) -> str:
    stated = call.meters.cache_read is not None
    return "" if stated else "; the trace does not say what was cached"


def threads(calls: Iterable[CostedCall]) -> list[list[CostedCall]]:
    """Return the calls of each agent of each run and model, in order: what one growing conversation looks like."""
    grouped: dict[tuple[str | None, str | None, bytes | None, str], list[CostedCall]] = defaultdict(list)
    for call in calls:
        placement = call.placement
        grouped[placement.run_id, placement.agent_name, placement.parent_id, call.model].append(call)
    return list(grouped.values())


def broken_prefix(examined: Examined) -> list[Finding]:
    """Find conversations whose beginning changed between two calls in a row, and where."""
    evidence: list[Evidence] = []
    calls, tokens = 0.0, 0.0
    for thread in threads(examined.dataset.calls):
        for before, after in pairwise(thread):
            shared = shared_blocks(before, after)
            rule = examined.cache_rule(after)
            if shared is None or rule is None or after.input_tokens < before.input_tokens:
                continue
            prefix = before.prefix
            assert prefix is not None
            lost = tokens_of(before, prefix.blocks) - tokens_of(before, shared)
            if shared >= BROKEN_SHARE * prefix.blocks or cacheable(lost, rule) == 0:
                continue
            calls += after.weight
            tokens += lost * after.weight
            meters = after.meters
            moved = min(lost, meters.input_fresh or 0)
            kept = with_meters(
                after,
                examined.dataset.price,
                input_fresh=(meters.input_fresh or 0) - moved,
                cache_read=(meters.cache_read or 0) + moved,
            )
            cost = None if after.cost_usd is None or kept.cost_usd is None else after.cost_usd - kept.cost_usd
            evidence.append(
                evidence_of(
                    after, f"changed after {tokens_of(before, shared):,} tokens: {_part(before, shared)}", lost, cost
                )
            )
    method = (
        "Two calls in a row of one agent that share less than half of the first one's prefix although the second is "
        "not shorter; what lies behind the change had to be processed again."
    )
    return finding("prefix_broken", "Cache broken by a changing beginning", method, evidence, calls, tokens)


def _part(call: CostedCall, blocks: int) -> str:
    """Name the part of the input in which a prefix ends, from its composition; tools come before the system text."""
    composition = call.inference.composition
    at = tokens_of(call, blocks)
    if composition is None or composition.tools is None or composition.system is None:
        return "what changed there is not in the traces"
    if at < composition.tools:
        return "a tool definition changed"
    if at < composition.tools + composition.system:
        return "the system prompt changed"
    return "the history was rewritten"


def unread_writes(examined: Examined) -> list[Finding]:
    """Find cache writes that no later call read while they lived; the loss is what writing costs over fresh input."""
    dataset = examined.dataset
    sessions: dict[tuple[str | None, str], list[CostedCall]] = defaultdict(list)
    for call in dataset.calls:
        sessions[call.placement.session_id or call.placement.run_id, call.model].append(call)
    evidence: list[Evidence] = []
    calls, tokens = 0.0, 0.0
    for members in sessions.values():
        for index, call in enumerate(members):
            unread = _unread(call, members[index + 1 :])
            if not unread:
                continue
            meters = call.meters
            short = min(unread, meters.cache_write_5m or 0)
            fresh = with_meters(
                call,
                dataset.price,
                input_fresh=(meters.input_fresh or 0) + unread,
                cache_write_5m=(meters.cache_write_5m or 0) - short,
                cache_write_1h=(meters.cache_write_1h or 0) - (unread - short),
            )
            if call.cost_usd is None or fresh.cost_usd is None or fresh.cost_usd >= call.cost_usd:
                continue
            calls += call.weight
            tokens += unread * call.weight
            evidence.append(
                evidence_of(call, f"{unread:,} tokens written, never read", unread, call.cost_usd - fresh.cost_usd)
            )
    method = (
        "Tokens written to a cache that no later call of the session and model read within the write's time to live; "
        "the premium over fresh input is lost. The last call of every conversation is among them."
    )
    return finding("cache_write_unread", "Cache writes that nothing read", method, evidence, calls, tokens)


def _unread(call: CostedCall, later: Sequence[CostedCall]) -> int:
    meters = call.meters
    written = (meters.cache_write_5m or 0) + (meters.cache_write_1h or 0)
    if not written:
        return 0
    ttl_ns = (3600 if meters.cache_write_1h else 300) * NS
    base = meters.cache_read or 0
    used_ns, best = call.end_ns, 0
    for other in later:
        if other.start_ns - used_ns > ttl_ns:
            break
        read = (other.meters.cache_read or 0) - base
        if read > 0:
            used_ns = other.end_ns
            best = max(best, read)
            if best >= written:
                return 0
    return max(0, written - best)
