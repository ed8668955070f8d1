"""The answer of a replay: distributions, cost, energy and trust, as the `replay` document."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.replay_cost import CENT, Bill, Energy
from inferometer.analyzer.replay_engine import OVER_CONTEXT, OVER_MEMORY, Simulation
from inferometer.analyzer.replay_fleet import Deployment
from inferometer.analyzer.replay_scenario import Scenario
from inferometer.analyzer.replay_trust import Trust
from inferometer.analyzer.replay_utilisation import Utilisation
from inferometer.analyzer.workload import Workload

Float = NDArray[np.float64]
Distribution = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a workload does on a scenario's fleet; `as_dict` is the `replay` document.

    ``workload`` is as it arrived in the simulation, ``simulation`` holds what became of each call, ``bill`` and
    ``energy`` are None where prices or power are unknown, or where the simulated clock is no clock to bill by.
    """

    scenario: Scenario
    workload: Workload
    deployment: Deployment
    simulation: Simulation
    arrivals: dict[str, Any]
    utilisation: Utilisation
    trust: Trust
    bill: Bill | None
    energy: Energy | None
    busy_s: float
    recounted_share: float
    warnings: dict[str, int]

    @property
    def cost_usd(self) -> Decimal | None:
        """The middle cost on the answer's basis, None where unknown."""
        return None if self.bill is None else self.bill.by_basis[self.bill.basis].mid

    def run_seconds(self) -> Float:
        """Return seconds from the first start to the last end of every run that was served whole."""
        return self._run_spans(self.simulation.ready_s, self.simulation.end_s, self._feasible_runs())

    def as_dict(self) -> dict[str, Any]:
        """Return the `replay` document, its seconds as numbers and its money as Decimal."""
        simulation, workload = self.simulation, self.workload
        served = simulation.served
        ready, first, end = simulation.ready_s, simulation.first_s, simulation.end_s
        outputs = workload.output_tokens
        ttft, e2e = (first - ready)[served], (end - ready)[served]
        decoded = served & (outputs > 1)
        tpot = (end - first)[decoded] / (outputs[decoded] - 1)
        makespan = simulation.makespan_s
        produced = int(outputs[served].sum())
        return {
            "scenario": self._scenario(),
            "calls": workload.calls,
            "runs": workload.runs,
            "refused": {
                "over_context": int(np.count_nonzero(simulation.status == OVER_CONTEXT)),
                "over_memory": int(np.count_nonzero(simulation.status == OVER_MEMORY)),
            },
            "infeasible_runs_share": self._infeasible_share(),
            "makespan_s": makespan,
            "arrivals": self.arrivals,
            "ttft_s": distribution(ttft),
            "tpot_s": distribution(tpot),
            "e2e_s": distribution(e2e),
            "run_e2e_s": distribution(self.run_seconds()),
            "queue_s": distribution((simulation.entered_s - ready)[served]),
            "input_tokens": int(workload.input_tokens[served].sum()),
            "output_tokens": produced,
            "output_tokens_per_s": produced / makespan if makespan else None,
            "prefix_hit_rate": self._hit_rate(),
            "prefix_hit_rate_infinite": workload.prefixes.hit_rate_infinite,
            "offload_hit_rate": self._rate(simulation.loaded_tokens) if self.scenario.offload_gib else None,
            "busy_share": self.busy_s / (makespan * self.deployment.replicas) if makespan else None,
            "mfu": self.utilisation.mfu,
            "mbu": self.utilisation.mbu,
            "goodput": self._goodput(ttft, decoded[served], tpot, makespan),
            "preemptions": int(simulation.total("preemptions")),
            **self._money(produced),
            "confidence": self.trust.confidence,
            "confidence_reason": self.trust.reason,
            "step_time_interval": {"p10": self.trust.spread.tpot_p10, "p90": self.trust.spread.tpot_p90},
            "extrapolated_share": self.trust.extrapolated_share,
            "warnings": self.warnings,
            "recorded": self._recorded(),
        }

    def _scenario(self) -> dict[str, Any]:
        model = self.deployment.step_model
        return {
            **self.scenario.as_dict(),
            "hardware": model.hardware.id,
            "engine": model.engine.id,
            "model": model.model.id,
            "precision": model.precision,
            "kv_precision": model.kv_precision,
            "chips": self.deployment.chips,
            "kv_capacity_tokens": model.kv_capacity_tokens,
            "context_window_tokens": model.model.context_tokens,
            "acceptance_length": model.speculation.acceptance_length if model.speculation else None,
            "input_recounted_share": self.recounted_share,
            "behaviour": "held fixed: the same calls, tools and output lengths as recorded",
        }

    def _feasible_runs(self) -> NDArray[np.bool_]:
        feasible = np.ones(self.workload.runs, np.bool_)
        feasible[self.workload.run[~self.simulation.served]] = False
        return feasible

    def _infeasible_share(self) -> float | None:
        feasible = self._feasible_runs()
        return float(1 - feasible.mean()) if len(feasible) else None

    def _run_spans(self, start_s: Float, end_s: Float, runs: NDArray[np.bool_]) -> Float:
        """Return seconds from a run's first start to its last end, for the runs asked for."""
        first = np.full(self.workload.runs, np.inf)
        last = np.full(self.workload.runs, -np.inf)
        known = ~(np.isnan(start_s) | np.isnan(end_s))
        np.minimum.at(first, self.workload.run[known], start_s[known])
        np.maximum.at(last, self.workload.run[known], end_s[known])
        spans: Float = (last - first)[runs & np.isfinite(first)]
        return spans

    def _rate(self, tokens: NDArray[np.int32]) -> float | None:
        served = self.simulation.served
        blocks = int(self.workload.prefixes.chain_blocks()[served].sum())
        if not blocks:
            return None
        return float(tokens[served].sum(dtype=np.int64)) / (blocks * self.workload.prefixes.block_tokens)

    def _hit_rate(self) -> float | None:
        return self._rate(self.simulation.hit_tokens)

    def _goodput(self, ttft: Float, decoded: NDArray[np.bool_], tpot: Float, makespan: float) -> float | None:
        if not makespan:
            return None
        objective = self.scenario.objective
        good = ttft <= objective.ttft_s
        good[decoded] &= tpot <= objective.tpot_s
        return float(np.count_nonzero(good)) / makespan

    def _money(self, produced: int) -> dict[str, Any]:
        bill, energy = self.bill, self.energy
        cost = bill.by_basis[bill.basis] if bill else None
        grid = self.scenario.payment.grid_gco2e_per_kwh
        return {
            "billed_hours": bill.billed_hours if bill else None,
            "cost_basis": bill.basis if bill else None,
            "price_source": bill.price.source if bill else None,
            "cost_usd": cost.as_dict() if cost else dict.fromkeys(("low", "mid", "high")),
            "cost_usd_by_basis": {
                basis: bill.by_basis[basis].mid.quantize(CENT) if bill else None
                for basis in ("dedicated", "shared", "pay_per_use")
            },
            "cost_usd_range_by_basis": {basis: usd.as_dict() for basis, usd in bill.by_basis.items()} if bill else None,
            "bill_shares_usd": bill.shares_usd if bill else None,
            "break_even_utilisation": bill.break_even_utilisation if bill else None,
            "cost_usd_per_mtok_output": (cost.mid * 1_000_000 / produced).quantize(CENT) if cost and produced else None,
            "energy_kwh": energy.kwh if energy else None,
            "energy_kwh_range": {"low": energy.kwh_low, "high": energy.kwh_high} if energy else None,
            "gco2e": energy.kwh * grid if energy else None,
        }

    def _recorded(self) -> dict[str, Any]:
        recorded, workload = self.workload.recorded, self.workload
        every = np.ones(workload.runs, np.bool_)
        starts = np.repeat(np.nan_to_num(workload.session_start_s), np.diff(workload.session_first)) + workload.start_s
        return {
            "ttft_s": distribution(recorded.ttft_s),
            "e2e_s": distribution(recorded.e2e_s),
            "run_e2e_s": distribution(self._run_spans(starts, starts + recorded.e2e_s, every)),
            "cost_usd": recorded.cost_usd,
            "unpriced": recorded.unpriced,
        }


def distribution(values: Float) -> Distribution:
    """Return p50, p90, p99, mean and max of the known values, all None where there is none."""
    known = values[~np.isnan(values)]
    if not len(known):
        return dict.fromkeys(("p50", "p90", "p99", "mean", "max"))
    p50, p90, p99 = (float(value) for value in np.percentile(known, (50, 90, 99)))
    return {"p50": p50, "p90": p90, "p99": p99, "mean": float(known.mean()), "max": float(known.max())}
