"""Latencies of a replay's served calls and whole runs, and their distributions."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.replay_engine import Simulation
from inferometer.analyzer.workload import Workload

Float = NDArray[np.float64]
Distribution = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Latencies:
    """Seconds, float64: of served calls ``ttft_s``, ``e2e_s``, ``gateway_s`` before an engine's queue, ``queue_s`` in
    it; ``tpot_s`` of those with two tokens or more, ``run_e2e_s`` of runs without a refused call. A call without output
    has no first token: its ``ttft_s`` is NaN."""

    ttft_s: Float
    tpot_s: Float
    e2e_s: Float
    run_e2e_s: Float
    gateway_s: Float
    queue_s: Float

    def medians(self) -> dict[str, float | None]:
        """Return the median of each, None where there is no value."""
        return {field.name: distribution(getattr(self, field.name))["p50"] for field in fields(self)}


def measure_latencies(workload: Workload, simulation: Simulation) -> Latencies:
    """Return the latencies as the client sees them, the network included."""
    served = simulation.served
    ready, first, end = simulation.ready_s, simulation.first_s, simulation.end_s
    decoded = served & (workload.output_tokens > 1)
    return Latencies(
        ttft_s=np.where(workload.output_tokens > 0, first - ready, np.nan)[served],
        tpot_s=(end - first)[decoded] / (workload.output_tokens[decoded] - 1),
        e2e_s=(end - ready)[served],
        run_e2e_s=run_spans(workload, ready, end, feasible_runs(workload, simulation)),
        gateway_s=(simulation.entered_s - ready)[served],
        queue_s=(simulation.admitted_s - simulation.entered_s)[served],
    )


def feasible_runs(workload: Workload, simulation: Simulation) -> NDArray[np.bool_]:
    """Return which runs were served whole, bool, shape (n_runs,)."""
    feasible = np.ones(workload.runs, np.bool_)
    feasible[workload.run[~simulation.served]] = False
    return feasible


def run_spans(workload: Workload, start_s: Float, end_s: Float, runs: NDArray[np.bool_]) -> Float:
    """Return seconds from a run's first start to its last end, for the runs asked for, known times alone."""
    first = np.full(workload.runs, np.inf)
    last = np.full(workload.runs, -np.inf)
    known = ~(np.isnan(start_s) | np.isnan(end_s))
    np.minimum.at(first, workload.run[known], start_s[known])
    np.maximum.at(last, workload.run[known], end_s[known])
    spans: Float = (last - first)[runs & np.isfinite(first)]
    return spans


def distribution(values: Float) -> Distribution:
    """Return p50, p90, p99, mean and max of the known values, all None where there is none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return dict.fromkeys(("p50", "p90", "p99", "mean", "max"))
    p50, p90, p99 = (float(value) for value in np.percentile(known, (50, 90, 99)))
    return {"p50": p50, "p90": p90, "p99": p99, "mean": float(known.mean()), "max": float(known.max())}
