"""Replay a recorded workload on another deployment: what it would take, and what it would cost."""

from __future__ import annotations

from collections import Counter

import numpy as np

from inferometer.analyzer.replay_arrivals import Clocks, set_clocks
from inferometer.analyzer.replay_cost import Bill, Energy, Use, bill, energy, hourly_price
from inferometer.analyzer.replay_engine import MOST_BACKGROUND_CALLS, Simulation, simulate
from inferometer.analyzer.replay_fleet import Deployment, build_deployment
from inferometer.analyzer.replay_latency import measure_latencies
from inferometer.analyzer.replay_recount import count_as
from inferometer.analyzer.replay_result import ReplayResult
from inferometer.analyzer.replay_scenario import Arrivals, Objective, Payment, Scenario
from inferometer.analyzer.replay_trust import trust
from inferometer.analyzer.replay_utilisation import utilisation
from inferometer.analyzer.workload import Workload

__all__ = ["Arrivals", "Objective", "Payment", "ReplayResult", "Scenario", "replay"]


_STANDINGS = {"older": "older_than_measured", "newer": "newer_than_measured", "between": "not_measured"}


def replay(workload: Workload, scenario: Scenario, *, with_interval: bool = True) -> ReplayResult:
    """Replay a workload on a scenario.

    A call longer than the model's window, or than the memory of a replica holds, is refused; what waited for it goes on
    at once, and its run counts as infeasible.

    Args:
        workload: the recorded calls.
        scenario: the deployment, how the calls arrive, and how it is paid for.
        with_interval: replay three times, at the step times' p10 and p90 too, so that the cost range holds their
            uncertainty beside the prices'.

    Raises:
        UnknownNameError: a profile or choice that is none; carries the nearest known names.
        InfeasibleError: the deployment cannot be: memory, precision or parallelism; says what is missing.
        UserError: arrivals that cannot be made.
    """
    deployment = build_deployment(scenario, workload)
    served = count_as(workload, scenario, deployment.step_model.model.id)
    clocks = set_clocks(served.workload, scenario.arrivals, scenario.seed)
    simulation = _simulate(clocks, deployment, scenario)
    found = trust(simulation, deployment.step_model)
    ends = [simulation, simulation]
    if with_interval and not scenario.arrivals.compresses_time:
        factors = (found.spread.tpot_p10, found.spread.tpot_p90)
        ends = [_simulate(clocks, build_deployment(scenario, workload, factor), scenario) for factor in factors]
    return ReplayResult(
        scenario=scenario,
        workload=clocks.workload,
        deployment=deployment,
        simulation=simulation,
        arrivals=clocks.stated,
        utilisation=utilisation(simulation, deployment.step_model),
        trust=found,
        latencies=measure_latencies(clocks.workload, simulation),
        interval=None if ends[0] is simulation else _interval(clocks.workload, ends),
        bill=_bill(clocks, deployment, scenario, (ends[0], simulation, ends[1])),
        energy=_energy(deployment, scenario, (ends[0], simulation, ends[1])),
        busy_s=simulation.total("busy_s"),
        served=served,
        warnings=_warnings(clocks.workload, deployment, scenario, simulation),
    )


def _interval(workload: Workload, ends: list[Simulation]) -> dict[str, dict[str, float | None]]:
    fast, slow = (measure_latencies(workload, end).medians() for end in ends)
    return {name: {"low": fast[name], "high": slow[name]} for name in ("ttft_s", "tpot_s", "e2e_s", "run_e2e_s")}


def _simulate(clocks: Clocks, deployment: Deployment, scenario: Scenario) -> Simulation:
    return simulate(
        clocks.workload,
        deployment.fleet,
        session_start_s=clocks.session_start_s,
        concurrency=clocks.concurrency,
        use_priorities=scenario.use_priorities,
        prefix_cache=scenario.prefix_cache,
        seed=scenario.seed,
    )


def _bill(
    clocks: Clocks, deployment: Deployment, scenario: Scenario, ends: tuple[Simulation, Simulation, Simulation]
) -> Bill | None:
    """Return the bill, None on compressed time, where no price is known, and where no call was served.

    `ends` are fast, as modelled, slow.
    """
    price = hourly_price(deployment.step_model.hardware, deployment.chips, scenario.payment)
    if price is None or scenario.arrivals.compresses_time or not ends[1].served.any():
        return None
    own = tuple(float(end.busy_s.sum()) for end in ends)
    others = tuple(end.background_busy_s for end in ends)
    spans = tuple(end.makespan_s for end in ends)
    use = Use(_three(own), _three(others), _three(spans), deployment.replicas)
    return bill(price, use, scenario.payment, clocks.workload.recorded.cost_usd)


def _energy(
    deployment: Deployment, scenario: Scenario, ends: tuple[Simulation, Simulation, Simulation]
) -> Energy | None:
    """Return the energy, None on compressed time, where no power is known, and where no call was served.

    `ends` are fast, as modelled, slow.
    """
    if scenario.arrivals.compresses_time or not ends[1].served.any():
        return None
    chips = deployment.chips / deployment.replicas
    found = []
    for end in ends:
        busy_s = end.total("busy_s")
        idle_s = max(0.0, end.makespan_s * deployment.replicas - busy_s)
        taken = energy(deployment.step_model.hardware, busy_s * chips, idle_s * chips, scenario.payment.pue)
        if taken is None:
            return None
        found.append(taken)
    return Energy(min(each.kwh_low for each in found), found[1].kwh, max(each.kwh_high for each in found))


def _three(values: tuple[float, ...]) -> tuple[float, float, float]:
    fast, modelled, slow = values
    return (min(fast, modelled), modelled, max(slow, modelled))


def _warnings(workload: Workload, deployment: Deployment, scenario: Scenario, simulation: Simulation) -> dict[str, int]:
    warnings = Counter(workload.warnings)
    window = deployment.step_model.model.context_tokens
    long = (workload.input_tokens <= window) & (workload.input_tokens + workload.output_tokens > window)
    warnings["output_past_window"] += int(np.count_nonzero(long))
    if scenario.arrivals.compresses_time:
        warnings["no_cost_on_compressed_time"] += 1
    if deployment.step_model.hardware.power is None:
        warnings["unknown_power"] += 1
    standing = deployment.step_model.version_standing
    if standing in _STANDINGS:
        warnings[f"engine_version_{_STANDINGS[standing]}"] += 1
    scheduler = deployment.step_model.engine.scheduler
    if scheduler.batching == "static":
        warnings["static_batching_replayed_as_mixed"] += 1
    if simulation.background_calls >= MOST_BACKGROUND_CALLS:
        warnings["background_cut_short"] += 1
    return {kind: count for kind, count in sorted(warnings.items()) if count}
