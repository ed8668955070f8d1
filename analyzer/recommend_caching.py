"""Proposals around prompt caches: turning caching on, writing for an hour instead of five minutes, or the reverse."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from inferometer.analyzer.audit_repricing import cost_usd, with_meters
from inferometer.analyzer.costed_call import CostedCall, PriceCall
from inferometer.analyzer.recommend import Proposal
from inferometer.analyzer.waste import CacheRule, Examined
from inferometer.analyzer.waste_cache import NS, cacheable_columns, threads
from inferometer.analyzer.waste_prefix import ReachColumns, assumed_chains, reach_columns
from inferometer.schema.records import PrefixChain

Group = tuple[str | None, str]
RuleOf = Callable[[CostedCall], CacheRule | None]
Remembered = dict[tuple[int, tuple[tuple[bytes, bytes], ...]], ReachColumns]
"""Reach by time to live and calls: proposals ask for the same ones again and again."""

Assumed = Mapping[tuple[bytes, bytes], PrefixChain]

SHORT_TTL_NS = 300 * NS
LONG_TTL_NS = 3600 * NS


def caching_proposals(examined: Examined) -> list[Proposal]:
    """Return the caching proposals that the calls give reason for."""
    found = []
    calls = examined.dataset.calls
    unknown = [call for call in calls if call.prefix is None and _explicit_rule(call, examined.cache_rule)]
    busy = {_group(call) for call in calls if _uses_cache(call)} if unknown else set()
    assumed = assumed_chains(threads(call for call in unknown if _group(call) not in busy))
    explicit = [call for call in calls if _has_chain(call, assumed) and _explicit_rule(call, examined.cache_rule)]
    if explicit:
        found.append(_prompt_caching(examined, explicit, assumed))
    price = examined.dataset.price
    if any(call.meters.cache_write_5m for call in calls):
        found.append(_longer_life(price))
    if any(call.meters.cache_write_1h for call in calls):
        found.append(_shorter_life(price))
    return found


def _explicit_rule(call: CostedCall, rule_of: RuleOf) -> CacheRule | None:
    """Return the rule of a provider that has to be asked to cache; None where there is none."""
    rule = rule_of(call)
    return None if rule is None or rule.automatic else rule


def _group(call: CostedCall) -> Group:
    """Return whom caching is turned on for: an agent's calls to a model."""
    return call.placement.agent_name, call.model


def _uses_cache(call: CostedCall) -> bool:
    meters = call.meters
    return bool(meters.cache_read or meters.cache_write_5m or meters.cache_write_1h)


def _has_chain(call: CostedCall, assumed: Assumed) -> bool:
    """Whether a call's prefix is known, or assumed and not dropped."""
    return bool(call.prefix.hashes) if call.prefix is not None else bool(call.input_tokens) and call.key in assumed


def _prompt_caching(examined: Examined, explicit: Sequence[CostedCall], assumed: Assumed) -> Proposal:
    unsaid = sum(call.meters.cache_read is None for call in explicit)
    rules = {rule for call in explicit if (rule := examined.cache_rule(call)) is not None}
    preconditions = [
        f"{rule.name}: a prefix of at least {rule.minimum_tokens:,} tokens, reused within {rule.ttl_s / 60:g} minutes "
        f"({rule.source})"
        for rule in sorted(rules, key=lambda rule: (rule.name, rule.minimum_tokens))
    ]
    if unsaid:
        preconditions.append(
            f"{unsaid:,} calls do not say whether they were cached; the low figure takes it that they were"
        )
    guessed = sum(call.prefix is None for call in explicit)
    if guessed:
        preconditions.append(
            f"{guessed:,} calls carry no prefix hashes: each is taken to send again what the one before it in its "
            "conversation had sent, while inputs grow; the low figure takes it that nothing is"
        )

    remembered: Remembered = {}

    def variant(policy: str) -> Callable[[Sequence[CostedCall]], list[CostedCall]]:
        return lambda calls: cached(calls, examined.cache_rule, examined.dataset.price, policy, remembered, assumed)

    return Proposal(
        id="prompt_caching",
        title="Cache the prompt prefix",
        apply=variant("mid"),
        apply_low=variant("low"),
        apply_high=variant("high"),
        action="Set cache breakpoints after the tools, the system prompt and the latest turn, so that the next call "
        "reads "
        "what this one wrote.",
        method="Prefix blocks of every call replayed through the provider's cache rules: reads where an earlier call "
        "had "
        "written the prefix in time, writes at the write price for what recurs, kept only for agents whose bill falls.",
        order=50,
        preconditions=preconditions,
        effort="low: a request parameter",
        latency_effect="time to first token falls with the share read from cache",
        confidence="estimated" if unsaid or guessed else "recount",
    )


def cached(
    calls: Sequence[CostedCall],
    rule_of: RuleOf,
    price: PriceCall,
    policy: str,
    remembered: Remembered,
    assumed: Assumed,
) -> list[CostedCall]:
    """Return the calls as they would be with explicit caching, for the agents whose bill it makes smaller.

    Args:
        calls: in order of start.
        rule_of: the provider's rules for a call.
        price: gives one call's price.
        policy: ``mid`` writes what other calls send too; ``low`` writes every whole prompt, takes half the time to live
            for granted and leaves alone calls whose cache use or prefix is unknown; ``high`` writes only what is read
            in time.
        remembered: reaches worked out before; filled here.
        assumed: chains of calls that carry none.
    """
    members: dict[Group, dict[CacheRule, list[int]]] = defaultdict(lambda: defaultdict(list))
    busy: set[Group] = set()
    for index, call in enumerate(calls):
        group = _group(call)
        unsure = call.meters.cache_read is None or call.prefix is None
        if _uses_cache(call):
            busy.add(group)
        elif not (policy == "low" and unsure) and _has_chain(call, assumed):
            rule = _explicit_rule(call, rule_of)
            if rule is not None:
                members[group][rule].append(index)
    result = list(calls)
    for group, by_rule in members.items():
        if group in busy:
            continue
        before: list[CostedCall] = []
        after: list[CostedCall] = []
        for rule, indices in by_rule.items():
            chosen = [calls[index] for index in indices]
            before += chosen
            after += _cached_calls(chosen, rule, price, policy, remembered, assumed)
        if cost_usd(after) < cost_usd(before):
            for index, call in zip(chain.from_iterable(by_rule.values()), after, strict=True):
                result[index] = call
    return result


def _cached_calls(
    calls: list[CostedCall],
    rule: CacheRule,
    price: PriceCall,
    policy: str,
    remembered: Remembered,
    assumed: Assumed,
) -> list[CostedCall]:
    ttl_ns = int(rule.ttl_s * NS * (0.5 if policy == "low" else 1))
    which = ttl_ns, tuple([call.key for call in calls])
    reach = remembered.get(which)
    if reach is None:
        chained = [call if call.prefix is not None else call.with_prefix(assumed[call.key]) for call in calls]
        reach = remembered[which] = reach_columns(chained, ttl_ns)
    upto = {"low": reach.blocks, "mid": reach.recurring, "high": reach.read_later}[policy]
    inputs = np.array([call.input_tokens for call in calls], np.int64)
    reads = cacheable_columns(reach.tokens_of(reach.alive, inputs), rule)
    writes = cacheable_columns(reach.tokens_of(np.maximum(upto, reach.alive), inputs), rule) - reads
    after = list(calls)
    for place, (read, wrote) in enumerate(zip(reads.tolist(), np.maximum(writes, 0).tolist(), strict=True)):
        if read or wrote:
            call = calls[place]
            fresh = call.input_tokens - read - wrote
            after[place] = with_meters(call, price, input_fresh=fresh, cache_read=read, cache_write_5m=wrote)
    return after


def _sequences(calls: Sequence[CostedCall]) -> list[list[int]]:
    """Return the indices of each session's calls of one agent and model, in order."""
    grouped: dict[tuple[str | None, str | None, str], list[int]] = defaultdict(list)
    for index, call in enumerate(calls):
        placement = call.placement
        grouped[placement.session_id or placement.run_id, placement.agent_name, call.model].append(index)
    return list(grouped.values())


def _longer_life(price: PriceCall) -> Proposal:
    return Proposal(
        id="cache_1h",
        title="Write the cache for an hour",
        apply=lambda calls: long_lived(calls, price, LONG_TTL_NS, per_session=False),
        apply_low=lambda calls: long_lived(calls, price, LONG_TTL_NS // 2, per_session=False),
        apply_high=lambda calls: long_lived(calls, price, LONG_TTL_NS, per_session=True),
        action="Ask for the one-hour time to live where people or slow tools pause an agent for more than five "
        "minutes.",
        method="Writes that repeat what a call 5 to 60 minutes earlier had cached become reads; every write of the "
        "agent "
        "and model pays the one-hour price.",
        order=60,
        preconditions=["pauses between 5 and 60 minutes are in the traces; they were counted one by one"],
        effort="low: a request parameter",
        latency_effect="time to first token falls after pauses",
        exclusive_with=("cache_5m",),
    )


def long_lived(calls: Sequence[CostedCall], price: PriceCall, ttl_ns: int, *, per_session: bool) -> list[CostedCall]:
    """Return the calls with five-minute writes made for an hour, for the agents (or sessions) whose bill falls."""
    groups: dict[tuple[str | None, str, int], list[tuple[int, CostedCall]]] = defaultdict(list)
    for number, indices in enumerate(_sequences(calls)):
        held, used_ns = 0, None
        for index in indices:
            call = calls[index]
            meters = call.meters
            read, wrote = meters.cache_read or 0, meters.cache_write_5m or 0
            again = 0
            if used_ns is not None and SHORT_TTL_NS < call.start_ns - used_ns <= ttl_ns:
                again = max(0, min(held - read, wrote))
            if read or wrote:
                changed = with_meters(
                    call,
                    price,
                    cache_read=read + again,
                    cache_write_5m=0,
                    cache_write_1h=(meters.cache_write_1h or 0) + wrote - again,
                )
                group = call.placement.agent_name, call.model, number if per_session else 0
                groups[group].append((index, changed))
                held, used_ns = read + wrote, call.start_ns
    return _kept_where_cheaper(calls, groups.values())


def _shorter_life(price: PriceCall) -> Proposal:
    return Proposal(
        id="cache_5m",
        title="Write the cache for five minutes only",
        apply=lambda calls: short_lived(calls, price, SHORT_TTL_NS, per_session=False),
        apply_low=lambda calls: short_lived(calls, price, SHORT_TTL_NS // 2, per_session=False),
        apply_high=lambda calls: short_lived(calls, price, SHORT_TTL_NS, per_session=True),
        action="Drop the one-hour time to live where the next call almost always comes within five minutes.",
        method="Every one-hour write pays the five-minute price; reads after more than five minutes become writes.",
        order=60,
        preconditions=["pauses between calls are in the traces; they were counted one by one"],
        effort="low: a request parameter",
        latency_effect="time to first token rises after pauses",
        exclusive_with=("cache_1h",),
    )


def short_lived(calls: Sequence[CostedCall], price: PriceCall, ttl_ns: int, *, per_session: bool) -> list[CostedCall]:
    """Return the calls with one-hour writes made for five minutes, for the agents (or sessions) whose bill falls."""
    groups: dict[tuple[str | None, str, int], list[tuple[int, CostedCall]]] = defaultdict(list)
    for number, indices in enumerate(_sequences(calls)):
        used_ns = None
        for index in indices:
            call = calls[index]
            meters = call.meters
            read, wrote = meters.cache_read or 0, meters.cache_write_1h or 0
            lost = read if used_ns is not None and call.start_ns - used_ns > ttl_ns else 0
            if read or wrote:
                changed = with_meters(
                    call,
                    price,
                    cache_read=read - lost,
                    cache_write_1h=0,
                    cache_write_5m=(meters.cache_write_5m or 0) + wrote + lost,
                )
                group = call.placement.agent_name, call.model, number if per_session else 0
                groups[group].append((index, changed))
                used_ns = call.start_ns
    return _kept_where_cheaper(calls, groups.values())


def _kept_where_cheaper(
    calls: Sequence[CostedCall], groups: Iterable[Sequence[tuple[int, CostedCall]]]
) -> list[CostedCall]:
    result = list(calls)
    for group in groups:
        if cost_usd(call for _, call in group) < cost_usd(calls[index] for index, _ in group):
            for index, call in group:
                result[index] = call
    return result
