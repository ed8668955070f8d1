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
from inferometer.analyzer.replay_latency import Latencies, distribution, feasible_runs, run_spans
from inferometer.analyzer.replay_recount import Served
from inferometer.analyzer.replay_scenario import Scenario
from inferometer.analyzer.replay_trust import Trust
from inferometer.analyzer.replay_utilisation import Utilisation
from inferometer.analyzer.workload import Workload

Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a workload does on a scenario's fleet; `as_dict` is the `replay` document.

    ``interval`` holds the medians at fast and slow step times, None where only the modelled ones were replayed.
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
    latencies: Latencies
    interval: dict[str, dict[str, float | None]] | None
    bill: Bill | None
    energy: Energy | None
    busy_s: float
    served: Served
    warnings: dict[str, int]

    @property
    def cost_usd(self) -> Decimal | None:
        """The middle cost on the answer's basis, None where unknown."""
        return None if self.bill is None else self.bill.by_basis[self.bill.basis].mid

    def as_dict(self) -> dict[str, Any]:
        """Return the `replay` document, its seconds as numbers and its money as Decimal."""
        simulation, workload = self.simulation, self.workload
        served = simulation.served
        latencies = self.latencies
        makespan = simulation.makespan_s
        produced = int(workload.output_tokens[served].sum())
        return {
            "scenario": self._scenario(),
            "calls": workload.calls,
            "calls_represented": self._represented(),
            "runs": workload.runs,
            "refused": {
                "over_context": int(np.count_nonzero(simulation.status == OVER_CONTEXT)),
                "over_memory": int(np.count_nonzero(simulation.status == OVER_MEMORY)),
            },
            "infeasible_runs_share": self._infeasible_share(),
            "makespan_s": makespan,
            "arrivals": self.arrivals,
            "ttft_s": distribution(latencies.ttft_s),
            "tpot_s": distribution(latencies.tpot_s),
            "e2e_s": distribution(latencies.e2e_s),
            "run_e2e_s": distribution(latencies.run_e2e_s),
            "gateway_s": distribution(latencies.gateway_s),
            "queue_s": distribution(latencies.queue_s),
            "input_tokens": int(workload.input_tokens[served].sum()),
            "output_tokens": produced,
            "output_tokens_per_s": produced / makespan if makespan else None,
            "prefix_hit_rate": self._rate(self._of_prompts()),
            "generated_hit_rate": self._rate(self.simulation.hit_tokens - self._of_prompts()),
            "prefix_hit_rate_infinite": workload.prefixes.hit_rate_infinite,
            "prefix_hit_rate_infinite_served": workload.prefixes.hit_rate_infinite_of(served),
            "offload_hit_rate": self._rate(simulation.loaded_tokens) if self.scenario.offload_gib else None,
            "busy_share": self.busy_s / (makespan * self.deployment.replicas) if makespan else None,
            "mfu": self.utilisation.mfu,
            "mbu": self.utilisation.mbu,
            "goodput": self._goodput(makespan),
            "preemptions": int(simulation.total("preemptions")),
            **self._money(produced),
            "confidence": self.trust.confidence,
            "confidence_reason": self.trust.reason,
            "median_interval": self.interval,
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
            "engine_version": model.engine.version or None,
            "constants_versions": list(model.versions),
            "model": model.model.id,
            "precision": model.precision,
            "tp": model.parallelism.tensor,
            "pp": model.parallelism.pipeline,
            "kv_precision": model.kv_precision,
            "chips": self.deployment.chips,
            "kv_capacity_tokens": model.kv_capacity_tokens,
            "context_window_tokens": model.model.context_tokens,
            "acceptance_length": model.speculation.acceptance_length if model.speculation else None,
            "input_recounted_share": self.served.input_counted_by.get("text", 0.0),
            "input_counted_by": self.served.input_counted_by,
            "output_counted_by": self.served.output_counted_by,
            "behaviour": "held fixed: the same calls, tools and texts as recorded",
        }

    def _represented(self) -> float | None:
        weight = self.workload.weight
        return None if weight is None or np.isnan(weight).any() else float(weight.sum())

    def _infeasible_share(self) -> float | None:
        feasible = feasible_runs(self.workload, self.simulation)
        return float(1 - feasible.mean()) if len(feasible) else None

    def _rate(self, tokens: NDArray[np.int32]) -> float | None:
        served = self.simulation.served
        blocks = int(self.workload.prefixes.chain_blocks()[served].sum())
        if not blocks:
            return None
        return float(tokens[served].sum(dtype=np.int64)) / (blocks * self.workload.prefixes.block_tokens)

    def _of_prompts(self) -> NDArray[np.int32]:
        """Return the tokens that each call found in the cache and that a prompt before it had held."""
        simulation = self.simulation
        known = simulation.hit_tokens + simulation.loaded_tokens - simulation.reused_tokens
        of_prompts: NDArray[np.int32] = np.minimum(simulation.hit_tokens, known)
        return of_prompts

    def _goodput(self, makespan_s: float) -> float | None:
        if not makespan_s:
            return None
        objective = self.scenario.objective
        good = ~(self.latencies.ttft_s > objective.ttft_s)
        decoded = self.workload.output_tokens[self.simulation.served] > 1
        good[decoded] &= self.latencies.tpot_s <= objective.tpot_s
        return float(np.count_nonzero(good)) / makespan_s

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
            "run_e2e_s": distribution(run_spans(workload, starts, starts + recorded.e2e_s, every)),
            "cost_usd": recorded.cost_usd,
            "unpriced": recorded.unpriced,
        }
