"""Paying for machines: reserved or by the hour, of one's own or a provider's, and how many.

Hours are those of the audited window. A machine by the hour is paid for in every hour of the clock in which a call
ran; a reserved one, and one of a fleet that is never switched off, in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from inferometer.analyzer.audit_repricing import cost_usd
from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.ledger import Reserved
from inferometer.analyzer.recommend import MINIMUM_SHARE, Apply, Money, Proposal, Recommendation
from inferometer.analyzer.recommend_serving import Comparison, title_of
from inferometer.analyzer.replay import Payment, ReplayResult
from inferometer.analyzer.replay_cost import UsdRange, hourly_price
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.prices import Priced

HOUR_NS = 3_600_000_000_000
LONG_BASES = ("reserved", "rental_3_years")
LEAST_WINDOW_H = 168
"""Who pays around the clock has to know nights and a weekend: of a window shorter than a week nothing is told."""
NOTHING = Money(ZERO, ZERO, ZERO)


@dataclass(slots=True, frozen=True)
class Hours:
    """Hours of the clock from the first call to the last, and those in which a call ran."""

    window: int
    active: int


def hours_of(calls: Sequence[CostedCall]) -> Hours | None:
    """Return a window's hours; None where no call has a time."""
    active: set[int] = set()
    for call in calls:
        start, end = call.placement.start_ns, call.placement.end_ns
        if start is not None:
            active.update(range(start // HOUR_NS, max(start, end or start) // HOUR_NS + 1))
    return Hours(max(active) - min(active) + 1, len(active)) if active else None


def replicas_needed(result: ReplayResult, scale: Decimal) -> int:
    """Return how many replicas all calls keep busy, where the replayed ones kept one so for a share of its time."""
    busy = result.as_dict()["busy_share"] or 0.0
    return max(1, math.ceil(busy * float(scale)))


def load_scale(comparison: Comparison, calls: Sequence[CostedCall]) -> Decimal:
    """Return how often the replayed calls stand for all: by their sample, and by what each call of a sample means."""
    return comparison.scale * Decimal(repr(sum(call.weight for call in calls))) / len(calls)


def payment_advice(comparison: Comparison, calls: Sequence[CostedCall]) -> list[Recommendation]:
    """Return which way of paying for the baseline's machines is cheaper over the window's hours, where another is."""
    hours = hours_of(calls)
    if hours is None or hours.window < LEAST_WINDOW_H:
        return []
    hardware = comparison.baseline.scenario.hardware
    held = [entry for entry in comparison.ledger.reserved if load_hardware(entry.hardware).id == hardware]
    if held:
        return _release(comparison, held, hours)
    return _reserve(comparison, hours, load_scale(comparison, calls))


def _hourly(comparison: Comparison, chips: int, basis: str) -> UsdRange | None:
    hardware = load_hardware(comparison.baseline.scenario.hardware)
    if hardware.price_range(basis) is None:
        return None
    price = hourly_price(hardware, chips, Payment(basis=basis))
    return None if price is None else price.usd


def _reserve(comparison: Comparison, hours: Hours, scale: Decimal) -> list[Recommendation]:
    chips = comparison.baseline.deployment.chips * replicas_needed(comparison.baseline, scale)
    on_demand = _hourly(comparison, chips, "on_demand")
    offers = [(usd.mid, basis, usd) for basis in LONG_BASES if (usd := _hourly(comparison, chips, basis))]
    if on_demand is None or not offers:
        return []
    _, basis, reserved = min(offers, key=lambda offer: offer[0])
    saving = Money(
        on_demand.low * hours.active - reserved.high * hours.window,
        on_demand.mid * hours.active - reserved.mid * hours.window,
        on_demand.high * hours.active - reserved.low * hours.window,
    )
    before = on_demand.mid * hours.active
    if saving.mid < before * MINIMUM_SHARE:
        return []
    break_even = float(reserved.mid / on_demand.mid)
    name = load_hardware(comparison.baseline.scenario.hardware).name
    return [
        paid_advice(
            comparison,
            "reserve_hardware",
            f"Reserve {chips} × {name}",
            f"Pay for {chips} × {name} as {basis.replace('_', ' ')} and not by the hour.",
            f"{hours.active:,} hours in which a call ran at the profile's on-demand price, less all {hours.window:,} "
            f"hours of the window at its {basis.replace('_', ' ')} price; lowest against highest price for the low "
            "figure.",
            saving,
            before,
            cash=saving,
            freed=NOTHING,
            conditions=[
                f"in use in {hours.active / hours.window:.0%} of the window's hours; reserving pays from "
                f"{break_even:.0%}",
                f"the window of {comparison.dataset.days:.1f} days is like the term that is signed",
            ],
            exclusive_with=("self_host", "other_hardware"),
            details={
                "chips": chips,
                "window_hours": hours.window,
                "active_hours": hours.active,
                "break_even_share_of_hours": break_even,
                "on_demand_usd_per_hour": on_demand.as_dict(),
                "reserved_usd_per_hour": reserved.as_dict(),
                "basis": basis,
            },
        )
    ]


def _release(comparison: Comparison, held: Sequence[Reserved], hours: Hours) -> list[Recommendation]:
    chips = sum(entry.gpus for entry in held)
    paid = sum((entry.usd_per_gpu_hour * entry.gpus for entry in held), ZERO) * hours.window
    on_demand = _hourly(comparison, chips, "on_demand")
    if on_demand is None or not paid:
        return []
    saving = Money.ordered(
        *(paid - usd * hours.active for usd in (on_demand.high, on_demand.mid, on_demand.low)),
    )
    if saving.mid < paid * MINIMUM_SHARE:
        return []
    name = load_hardware(comparison.baseline.scenario.hardware).name
    break_even = float(paid / hours.window / on_demand.mid)
    return [
        paid_advice(
            comparison,
            "release_reserved",
            f"Do not renew {chips} reserved {name}",
            f"Rent the {chips} × {name} by the hour once the reservation ends.",
            f"The ledger's price for all {hours.window:,} hours of the window, less the {hours.active:,} hours in "
            "which a call ran at the profile's on-demand price.",
            saving,
            paid,
            cash=NOTHING,
            freed=saving,
            conditions=[
                f"in use in {hours.active / hours.window:.0%} of the window's hours; reserving pays from "
                f"{break_even:.0%}",
                "machines can be had by the hour when they are needed, and start soon enough",
            ],
            exclusive_with=("consolidate_replicas",),
            details={
                "chips": chips,
                "window_hours": hours.window,
                "active_hours": hours.active,
                "break_even_share_of_hours": break_even,
                "on_demand_usd_per_hour": on_demand.as_dict(),
            },
        )
    ]


def self_hosting_advice(
    comparison: Comparison, results: Sequence[ReplayResult], calls: Sequence[CostedCall]
) -> list[Recommendation]:
    """Return the machine that would serve an open model for less than its provider bills, around the clock.

    Args:
        comparison: the audit's data and how often the replayed calls stand for all.
        results: the same calls replayed on machines.
        calls: all calls that went to the model.
    """
    hours = hours_of(calls)
    billed = sum((call.weighted_cost_usd for call in calls), ZERO)
    if hours is None or hours.window < LEAST_WINDOW_H or not billed:
        return []
    scale = load_scale(comparison, calls)
    offers = []
    for result in results:
        needed = replicas_needed(result, scale)
        price = hourly_price(
            load_hardware(result.scenario.hardware), result.deployment.chips * needed, result.scenario.payment
        )
        if price is not None and not sum(result.as_dict()["refused"].values()):
            offers.append((price.usd.mid * hours.window, needed, price, result))
    if not offers:
        return []
    cost, needed, price, result = min(offers, key=lambda offer: offer[0])
    saving = Money(
        billed - price.usd.high * hours.window, billed - cost, billed - price.usd.low * min(hours.active, hours.window)
    )
    if saving.mid < billed * MINIMUM_SHARE:
        return []
    return [
        paid_advice(
            comparison,
            "self_host",
            f"Serve {result.scenario.model} on machines of your own",
            f"Serve these calls on {needed} × ({title_of(result)}).",
            f"What the calls were billed, less all {hours.window:,} hours of the window at the machine's price. Low: "
            f"the highest price; high: the lowest price in the {hours.active:,} hours in which a call ran alone.",
            saving,
            billed,
            cash=saving,
            freed=NOTHING,
            conditions=[
                "people who run the machines, and a second replica against failures, are not in it",
                f"the machines are busy {result.as_dict()['busy_share']:.0%} of the time in the replay",
                f"step times are {result.as_dict()['confidence']}: {result.as_dict()['confidence_reason']}",
            ],
            exclusive_with=("other_provider", "batch", "flex", "smaller_model", "fine_tune"),
            details={
                "window_hours": hours.window,
                "replicas": needed,
                "usd_per_hour": price.usd.as_dict(),
                "break_even_bill_share": float(cost / billed),
                "curve": _curve(result, scale, billed),
            },
            effort="high: an engine to run",
        )
    ]


def self_hosting_proposal(found: Recommendation, calls: Sequence[CostedCall]) -> Proposal:
    """Return what serving calls at home does to their bill: each bears its share, by its bill, of the machine's cost.

    Whatever else is done to those calls before leaves the machine's cost as it is, so this comes last.
    """
    billed = cost_usd(calls)
    shares = {call.key: call.cost_usd / billed for call in calls if call.cost_usd}

    def variant(saving: Decimal) -> Apply:
        machine = billed - saving
        return lambda every: [
            _borne(call, machine * shares[call.key]) if call.key in shares else call for call in every
        ]

    return Proposal(
        id=found.id,
        title=found.title,
        apply=variant(found.saving_usd.mid),
        apply_low=variant(found.saving_usd.low),
        apply_high=variant(found.saving_usd.high),
        action=found.action,
        method=found.method,
        order=90,
        preconditions=found.preconditions,
        effort=found.effort,
        latency_effect=found.latency_effect,
        exclusive_with=found.exclusive_with,
    )


def _borne(call: CostedCall, usd: Decimal) -> CostedCall:
    return CostedCall(call.row, Priced(usd, usd, usd))


def _curve(result: ReplayResult, scale: Decimal, billed: Decimal) -> dict[str, Any]:
    """Return the cost over the share of time in use, and the share at which it meets the bill."""
    assert result.bill is not None
    working = result.bill.by_basis["pay_per_use"].mid * scale
    shares = (Decimal(percent) / 100 for percent in (5, 10, 20, 30, 50, 70, 100))
    return {
        "billed_usd": billed,
        "break_even_utilisation": float(working / billed),
        "points": [{"utilisation": float(share), "usd": working / share} for share in shares],
    }


def paid_advice(
    comparison: Comparison,
    id_: str,
    title: str,
    action: str,
    method: str,
    saving: Money,
    before: Decimal,
    *,
    cash: Money,
    freed: Money,
    conditions: list[str],
    exclusive_with: tuple[str, ...],
    details: dict[str, Any],
    effort: str = "low: a contract",
) -> Recommendation:
    """Return a recommendation about hours that are paid for; ``before`` is what they cost without it."""
    run = comparison.baseline.as_dict()
    slower = details.get("run_e2e_s_p50")
    effect = "none: the same machines"
    if slower:
        effect = f"median run {slower['before']:.1f} s to {slower['after']:.1f} s"
    elif id_ == "self_host":
        effect = "that of the replayed machine, in the chapter on hardware"
    return Recommendation(
        id=id_,
        title=title,
        action=action,
        method=method,
        saving_usd=saving,
        saving_share=float(saving.mid / before),
        period_days=comparison.dataset.days,
        cash_usd=cash,
        freed_capacity_usd=freed,
        latency_effect=effect,
        effort=effort,
        payback_days=None,
        one_off_usd=ZERO,
        preconditions=conditions,
        evidence=[],
        exclusive_with=exclusive_with,
        confidence=f"replay, {run['confidence']}",
        calls=run["calls"],
        basis="own_hardware",
        details=details,
    )
