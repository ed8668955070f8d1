"""How many replicas a fleet needs: of those that the ledger reserves, or that serving metrics show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.fleet_seen import FleetSeen, fleet_seen
from inferometer.analyzer.recommend import Money, Recommendation
from inferometer.analyzer.recommend_hardware import NOTHING, hours_of, load_scale, paid_advice
from inferometer.analyzer.recommend_serving import Comparison
from inferometer.analyzer.replay import ReplayResult, replay
from inferometer.analyzer.replay_cost import hourly_price
from inferometer.analyzer.workload import Workload
from inferometer.profiles.hardware import load_hardware
from inferometer.schema.wording import counted

MOST_REPLICAS = 64
SLOWER = 1.1
"""By how much a consolidated fleet's median run may take longer: a choice, stated with the recommendation."""
MOST_BUSY = 0.8
"""How busy the replicas that are left may get by what was measured: a choice, stated with the recommendation."""


@dataclass(slots=True, frozen=True)
class Fleet:
    """Replicas that are paid for.

    Attributes:
        usd_per_hour: of one replica.
        is_reserved: whether it is paid for used or idle, by the ledger.
        seen: what serving metrics show of it.
    """

    replicas: int
    chips: int
    usd_per_hour: Money
    is_reserved: bool
    seen: FleetSeen


def fleet_of(comparison: Comparison) -> Fleet | None:
    """Return the fleet: as many replicas as sent readings, else as the ledger's reserved chips make; None if neither.

    A replica has the baseline's chips. It costs what the ledger says, else the profile's price by the hour.
    """
    base = comparison.baseline
    chips = base.deployment.chips // base.deployment.replicas
    hardware = load_hardware(base.scenario.hardware)
    held = [entry for entry in comparison.ledger.reserved if load_hardware(entry.hardware).id == hardware.id]
    seen = fleet_seen(comparison.dataset.serving_samples)
    gpus = sum(entry.gpus for entry in held)
    replicas = min(seen.replicas or gpus // chips, MOST_REPLICAS)
    if held:
        price = sum((entry.usd_per_gpu_hour * entry.gpus for entry in held), ZERO) / gpus * chips
        return Fleet(replicas, chips, Money(price, price, price), True, seen)
    hourly = hourly_price(hardware, chips, base.scenario.payment)
    if not replicas or hourly is None:
        return None
    return Fleet(replicas, chips, Money(hourly.usd.low, hourly.usd.mid, hourly.usd.high), False, seen)


def consolidation_advice(
    comparison: Comparison, workload: Workload, calls: Sequence[CostedCall]
) -> list[Recommendation]:
    """Return how many of a fleet's replicas these calls need, by replaying smaller fleets.

    The least fleet whose median run takes at most `SLOWER` times as long, that refuses no more, and that by measured
    utilisation would be at most `MOST_BUSY` busy. Sampled calls would load a fleet too little, so of a sample nothing
    is told.
    """
    hours = hours_of(calls)
    fleet = fleet_of(comparison)
    if hours is None or fleet is None or fleet.replicas < 2 or load_scale(comparison, calls) != 1:
        return []
    replays, enough = _least_fleet(workload, comparison.baseline, fleet.replicas)
    if fleet.seen.utilisation is not None:
        enough = max(enough, math.ceil(fleet.replicas * fleet.seen.utilisation / MOST_BUSY))
    if enough >= fleet.replicas:
        return []
    if enough not in replays:
        replays[enough] = _replayed(workload, comparison.baseline, enough)
    each, freed = fleet.usd_per_hour, fleet.replicas - enough
    # one replica more against failures is the harder reading
    saving = Money(each.low * (freed - 1), each.mid * freed, each.high * freed).part(Decimal(hours.window))
    before, after = replays[fleet.replicas], replays[enough]
    whose = "reserved" if fleet.is_reserved else "running"
    return [
        paid_advice(
            comparison,
            "consolidate_replicas",
            f"Serve with {enough} replicas in place of {fleet.replicas}",
            f"Give {freed} of the {fleet.replicas} {whose} replicas of {counted(fleet.chips, 'chip')} "
            f"{'to other work' if fleet.is_reserved else 'back'}.",
            f"The calls replayed on fleets of {', '.join(map(str, sorted(replays)))} replicas; the least one whose "
            f"median run takes at most {SLOWER - 1:.0%} longer and that, by what was measured, is at most "
            f"{MOST_BUSY:.0%} busy. {'The ledger' if fleet.is_reserved else 'The profile'}'s price for the window's "
            f"{hours.window:,} hours; low keeps one replica against failures.",
            saving,
            each.mid * fleet.replicas * hours.window,
            cash=NOTHING if fleet.is_reserved else saving,
            freed=saving if fleet.is_reserved else NOTHING,
            conditions=[
                _measured(fleet.seen),
                f"replayed, {fleet.replicas} replicas were busy {before['busy_share']:.0%} of the time, {enough} would "
                f"be {after['busy_share']:.0%}",
                "the window holds the peak load",
            ],
            exclusive_with=("release_reserved",),
            details={
                "replicas": enough,
                "fleet": fleet.replicas,
                "measured_utilisation": fleet.seen.utilisation,
                "measured_replicas": fleet.seen.replicas or None,
                "run_e2e_s_p50": {"before": before["run_e2e_s"]["p50"], "after": after["run_e2e_s"]["p50"]},
            },
            effort="medium: other work for the machines",
        )
    ]


def _measured(seen: FleetSeen) -> str:
    if seen.utilisation is None:
        return "utilisation was not measured: no reading of a device is in the window"
    return (
        f"measured: {counted(seen.replicas, 'engine')} and {counted(seen.devices, 'device')}, busy "
        f"{seen.utilisation:.0%} of the time over {counted(seen.readings, 'reading')}"
    )


def _least_fleet(workload: Workload, base: ReplayResult, replicas: int) -> tuple[dict[int, dict[str, Any]], int]:
    """Return the replays of fleets that were tried, by size, and the least that is as good as the whole."""
    replays = {replicas: _replayed(workload, base, replicas)}
    least, enough = 1, replicas
    while least < enough:
        middle = (least + enough) // 2
        replays[middle] = _replayed(workload, base, middle)
        if _as_good(replays[middle], replays[replicas]):
            enough = middle
        else:
            least = middle + 1
    return replays, enough


def _replayed(workload: Workload, base: ReplayResult, replicas: int) -> dict[str, Any]:
    return replay(workload, replace(base.scenario, replicas=replicas), with_interval=False).as_dict()


def _as_good(small: dict[str, Any], large: dict[str, Any]) -> bool:
    one, other = small["run_e2e_s"]["p50"], large["run_e2e_s"]["p50"]
    refused = sum(small["refused"].values()) <= sum(large["refused"].values())
    return bool(refused and one is not None and other is not None and one <= other * SLOWER)
