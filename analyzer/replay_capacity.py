"""Capacity planning: the smallest fleet that meets an objective, through the day, with a spare and cold starts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from inferometer.analyzer.replay import replay
from inferometer.analyzer.replay_cost import CENT, hourly_price
from inferometer.analyzer.replay_result import ReplayResult
from inferometer.analyzer.replay_scenario import Arrivals, Scenario
from inferometer.analyzer.workload import Workload
from inferometer.schema.errors import InfeasibleError, UserError

LARGEST_FLEET = 1024
FLAT = (1.0,) * 24
OFFICE = (
    0.2,
    0.15,
    0.12,
    0.1,
    0.1,
    0.15,
    0.3,
    0.6,
    1.1,
    1.7,
    2.0,
    2.0,
    1.7,
    1.8,
    2.0,
    2.0,
    1.9,
    1.6,
    1.2,
    0.9,
    0.7,
    0.5,
    0.4,
    0.3,
)
"""An assumed working day by the hour, mean 1 after scaling: twice the mean at its peaks. No trace stands behind it."""
SHAPES = {"flat": FLAT, "office": OFFICE}
_TARGET = re.compile(r"(ttft|tpot|e2e|run_e2e)_p(\d{1,2})")


@dataclass(frozen=True, slots=True)
class Target:
    """A percentile of a latency that must stay at or below ``limit_s``."""

    metric: str
    percentile: int
    limit_s: float

    @classmethod
    def named(cls, name: str, limit_s: float) -> Target:
        """Return the target of a name such as ``ttft_p95``.

        Raises:
            UserError: the name is none.
        """
        found = _TARGET.fullmatch(name)
        if not found:
            raise UserError(f"{name!r} is no objective: write ttft_p95, tpot_p50, e2e_p99 or run_e2e_p90")
        return cls(found[1], int(found[2]), limit_s)

    def measure(self, result: ReplayResult) -> float:
        """Return the percentile that a replay reached, seconds; infinite where no call was served.

        Raises:
            UserError: calls were served, but none has such a time: too few tokens.
        """
        values = getattr(result.latencies, f"{self.metric}_s")
        known = values[~np.isnan(values)]
        if not len(known) and result.simulation.served.any():
            raise UserError(f"no call has a {self.metric}: outputs are too short; give another objective")
        return float(np.percentile(known, self.percentile)) if len(known) else math.inf


@dataclass(frozen=True, slots=True)
class Plan:
    """The smallest fleet: ``needed`` replicas meet every target, ``spare`` more stand by for a failure.

    By the hour, ``hourly_replicas`` are the spare included; ``autoscaled_chip_hours`` is a day's with replicas started
    ``cold_start_s`` ahead, ``fixed_chip_hours`` that of the busiest hour's fleet all day.
    """

    needed: int
    spare: int
    reached: dict[str, float]
    hourly_replicas: tuple[int, ...]
    chips_per_replica: int
    fixed_chip_hours: float
    autoscaled_chip_hours: float
    usd_per_day_fixed: Decimal | None
    usd_per_day_autoscaled: Decimal | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "replicas": self.needed,
            "spare": self.spare,
            "reached_s": self.reached,
            "hourly_replicas": list(self.hourly_replicas),
            "chip_hours_per_day": {"fixed": self.fixed_chip_hours, "autoscaled": self.autoscaled_chip_hours},
            "usd_per_day": {"fixed": self.usd_per_day_fixed, "autoscaled": self.usd_per_day_autoscaled},
        }


def plan_capacity(
    workload: Workload,
    scenario: Scenario,
    targets: Sequence[Target],
    *,
    spare: int = 1,
    shape: Sequence[float] = FLAT,
    cold_start_s: float = 300.0,
) -> Plan:
    """Find the smallest fleet that meets all targets in the busiest hour, and what each other hour needs.

    Args:
        workload: the recorded calls.
        scenario: the deployment of one replica, or of one group of prefill and decode replicas, and how sessions
            arrive; the shape multiplies a Poisson rate.
        targets: percentiles to keep.
        spare: replicas beyond, so that one may fail (N + 1).
        shape: load by the hour of a day, over its mean; length 24.
        cold_start_s: seconds before an autoscaled replica serves, paid for.

    Raises:
        InfeasibleError: no fleet of up to 1,024 replicas meets the targets, however few calls it has.
        UserError: a shape that is none, or one beside arrivals that have no rate.
    """
    if len(shape) != 24 or min(shape) < 0 or sum(shape) <= 0:
        raise UserError("a day's shape is 24 numbers of 0 or more")
    varies = max(shape) != min(shape)
    if varies and scenario.arrivals.kind != "poisson":
        raise UserError("a day's shape needs a rate to multiply: give --arrivals poisson:RATE")
    mean = sum(shape) / 24
    found: dict[float, tuple[int, ReplayResult]] = {}
    for load in sorted({value / mean for value in shape}, reverse=True):
        found[load] = _smallest(workload, _at_load(scenario, load), targets)
    hourly = tuple(found[value / mean][0] + spare for value in shape)
    needed, result = found[max(found)]
    chips = result.deployment.chips // needed
    fixed = max(hourly) * chips * 24.0
    started = sum(max(0, after - before) for before, after in zip(hourly, (*hourly[1:], hourly[0]), strict=True))
    autoscaled = (sum(hourly) + started * cold_start_s / 3600) * chips
    price = hourly_price(result.deployment.step_model.hardware, chips, scenario.payment)
    per_chip_hour = price.usd.mid / chips if price else None
    return Plan(
        needed=needed,
        spare=spare,
        reached={f"{target.metric}_p{target.percentile}": target.measure(result) for target in targets},
        hourly_replicas=hourly,
        chips_per_replica=chips,
        fixed_chip_hours=fixed,
        autoscaled_chip_hours=autoscaled,
        usd_per_day_fixed=_usd(per_chip_hour, fixed),
        usd_per_day_autoscaled=_usd(per_chip_hour, autoscaled),
    )


def _times(scenario: Scenario, count: int) -> Scenario:
    """Return the scenario with so many replicas, or so many times its prefill and decode replicas."""
    if scenario.disaggregate is None:
        return replace(scenario, replicas=count)
    prefill, decode = scenario.disaggregate
    return replace(scenario, disaggregate=(prefill * count, decode * count))


def _usd(per_chip_hour: Decimal | None, chip_hours: float) -> Decimal | None:
    return None if per_chip_hour is None else (per_chip_hour * Decimal(repr(chip_hours))).quantize(CENT)


def _at_load(scenario: Scenario, load: float) -> Scenario:
    arrivals: Arrivals = scenario.arrivals
    if arrivals.kind != "poisson" or arrivals.rate_per_s is None:
        return scenario
    return replace(scenario, arrivals=replace(arrivals, rate_per_s=arrivals.rate_per_s * max(load, 1e-9)))


def _smallest(workload: Workload, scenario: Scenario, targets: Sequence[Target]) -> tuple[int, ReplayResult]:
    """Double the fleet until it meets the targets, then bisect."""

    def attempt(replicas: int) -> tuple[bool, ReplayResult]:
        result = replay(workload, _times(scenario, replicas), with_interval=False)
        return all(target.measure(result) <= target.limit_s for target in targets), result

    enough = 1
    meets, best = attempt(enough)
    while not meets:
        if enough >= LARGEST_FLEET:
            reached = ", ".join(f"{t.metric}_p{t.percentile} {t.measure(best):.3g} s" for t in targets)
            raise InfeasibleError(
                f"{enough} replicas do not meet the objective (they reach {reached}): a faster deployment is needed, "
                "not more of this one"
            )
        enough *= 2
        meets, best = attempt(enough)
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        meets, result = attempt(middle)
        if meets:
            enough, best = middle, result
        else:
            too_few = middle
    return enough, best
