"""A fleet of two kinds of machine: short sessions on one, long ones on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.recommend import MINIMUM_SHARE, Money, Recommendation
from inferometer.analyzer.recommend_serving import SHARED, Comparison, cost_range
from inferometer.analyzer.replay import ReplayResult, replay
from inferometer.analyzer.workload import CountTexts, Workload, build_workload
from inferometer.profiles.hardware import load_hardware
from inferometer.schema.errors import UserError

CANDIDATES = 3
"""So many machines, the cheapest for all calls, are tried for each half."""


@dataclass(slots=True, frozen=True)
class Pair:
    """Which machine serves short and which long sessions, and what that costs in US dollars."""

    short: str
    long: str
    usd: Decimal


def halves_by_length(calls: Sequence[CostedCall]) -> tuple[list[CostedCall], list[CostedCall], int] | None:
    """Return the calls of short and of long sessions, and the tokens where they part; None where all are alike.

    A session is as long as its longest input, and stays on one machine with its prefix. They part at the median.
    """
    longest: dict[str, int] = {}
    for call in calls:
        session = _session(call)
        longest[session] = max(longest.get(session, 0), call.input_tokens)
    limit = sorted(longest.values())[(len(longest) - 1) // 2] if longest else 0
    short = [call for call in calls if longest[_session(call)] <= limit]
    long = [call for call in calls if longest[_session(call)] > limit]
    return (short, long, limit) if short and long else None


def cheapest_pair(
    short_usd: Mapping[str, Decimal], long_usd: Mapping[str, Decimal], whole_usd: Mapping[str, Decimal]
) -> Pair | None:
    """Return the two machines that together cost less than any one for all calls; None where one does as well."""
    if not short_usd or not long_usd or not whole_usd:
        return None
    short, long = (min(costs, key=lambda name: (costs[name], name)) for costs in (short_usd, long_usd))
    usd = short_usd[short] + long_usd[long]
    best = min(whole_usd.values())
    return Pair(short, long, usd) if short != long and usd < best * (1 - MINIMUM_SHARE) else None


def mixed_fleet_advice(
    comparison: Comparison, results: Mapping[str, ReplayResult], calls: Sequence[CostedCall]
) -> list[Recommendation]:
    """Return the advice to route sessions by length, where two kinds of machine cost less than the cheapest one.

    Args:
        comparison: the baseline that the saving is set beside.
        results: the replayed calls on each machine.
        calls: the calls that were replayed.
    """
    parts = halves_by_length(calls)
    whole = {
        name: usd.mid
        for name, result in results.items()
        if (usd := cost_range(result, SHARED)) is not None and not sum(result.as_dict()["refused"].values())
    }
    before = cost_range(comparison.baseline, SHARED)
    if parts is None or before is None or not before.mid or len(whole) < 2:
        return []
    short, long, limit = parts
    names = sorted(whole, key=lambda name: (whole[name], name))[:CANDIDATES]
    pair = cheapest_pair(_costs(short, names, results), _costs(long, names, results), whole)
    if pair is None or pair.usd >= before.mid:
        return []
    share = (before.mid - pair.usd) / before.mid
    saving = Money.ordered(before.low, before.mid, before.high).part(share * comparison.scale)
    nothing = Money(ZERO, ZERO, ZERO)
    reserved = bool(comparison.ledger.reserved)
    one, other = load_hardware(pair.short).name, load_hardware(pair.long).name
    return [
        Recommendation(
            id="mixed_fleet",
            title="Serve short and long sessions on different machines",
            action=f"Route sessions whose inputs stay within {limit:,} tokens to {one}, the others to {other}.",
            method="Each half of the sessions, parted at the median of their longest inputs, replayed alone on the "
            f"{len(names)} machines that are cheapest for all; hours of busy hardware on a fleet in use "
            f"{comparison.baseline.scenario.payment.utilisation:.0%} of its time.",
            saving_usd=saving,
            saving_share=float(share),
            period_days=comparison.dataset.days,
            cash_usd=nothing if reserved else saving,
            freed_capacity_usd=saving if reserved else nothing,
            latency_effect="that of each machine, in the chapter on hardware",
            effort="high: other machines and a router",
            payback_days=None,
            one_off_usd=ZERO,
            preconditions=[
                f"the best single machine would cost ${min(whole.values()):.4f}, the two ${pair.usd:.4f}",
                "how long a session gets is known when it starts",
            ],
            evidence=[],
            exclusive_with=("other_hardware",),
            confidence=f"replay, {results[pair.long].as_dict()['confidence']}",
            calls=len(calls),
            basis="own_hardware",
            details={"limit_tokens": limit, "short": pair.short, "long": pair.long, "usd": pair.usd},
        )
    ]


def _costs(
    calls: Sequence[CostedCall], names: Sequence[str], results: Mapping[str, ReplayResult]
) -> dict[str, Decimal]:
    """Return what the calls cost alone on each machine that refuses none of them."""
    workload = workload_of(calls, results[names[0]].workload.texts_of)
    if workload is None:
        return {}
    found = {}
    for name in names:
        result = replay(workload, results[name].scenario, with_interval=False)
        usd = cost_range(result, SHARED)
        if usd is not None and not sum(result.as_dict()["refused"].values()):
            found[name] = usd.mid
    return found


def workload_of(calls: Sequence[CostedCall], count: CountTexts | None = None) -> Workload | None:
    """Return calls as a workload to replay, None where none states its lengths; `count` as in `build_workload`."""
    costs = {call.key: call.cost_usd for call in calls}
    try:
        return build_workload(
            [call.row for call in calls], lambda row: costs[row.inference.trace_id, row.inference.span_id], count
        )
    except UserError:
        return None


def _session(call: CostedCall) -> str:
    return call.placement.session_id or call.placement.run_id or ""
