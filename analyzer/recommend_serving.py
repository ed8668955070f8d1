"""How self-hosted calls are served: levers and machines, each recommended where its replay is cheaper than another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import ZERO
from inferometer.analyzer.ledger import Ledger
from inferometer.analyzer.recommend import MINIMUM_SHARE, Money, Recommendation
from inferometer.analyzer.replay import ReplayResult, Scenario, replay
from inferometer.analyzer.replay_fleet import build_deployment
from inferometer.analyzer.replay_recount import count_as
from inferometer.analyzer.workload import Workload
from inferometer.profiles.hardware import load_hardware
from inferometer.schema.errors import InfeasibleError, UserError

BASELINE = "h100_sxm"
PARALLELISM = (1, 2, 4, 8, 16, 32)
SHARED = "shared"


def title_of(result: ReplayResult) -> str:
    """Return a replay's machine in words: chips, name, precision."""
    scenario = result.as_dict()["scenario"]
    name = load_hardware(scenario["hardware"]).name
    return f"{scenario['chips']} × {name}, {scenario['precision']}"


@dataclass(slots=True, frozen=True)
class Lever:
    """One change to how a model is served, on the baseline's machine."""

    id: str
    title: str
    action: str
    condition: str
    change: Callable[[Scenario], Scenario]
    beside: Callable[[Scenario], Scenario] | None = None
    """As many machines without the change: it has to be cheaper than these and than the baseline."""


LEVERS = (
    Lever(
        "bf16_weights",
        "Weights left in bf16",
        "",
        "",
        lambda scenario: replace(scenario, precision="bf16"),
    ),
    Lever(
        "quantise_kv",
        "Keep the KV cache in fp8",
        "Store keys and values in fp8.",
        "long contexts (above some 7,000 tokens); measured accuracy recovery is 94 to 99 % (vLLM blog, 2026-04-22)",
        lambda scenario: replace(scenario, kv_precision="fp8"),
    ),
    Lever(
        "speculative_decoding",
        "Draft three tokens a step",
        "Turn speculative decoding on (EAGLE-3 or the model's own draft head).",
        "small batches: the gain vanishes where the machine is busy computing (arXiv 2503.01840)",
        lambda scenario: replace(scenario, speculative_tokens=3, speculative_kind="eagle"),
    ),
    Lever(
        "kv_offload",
        "Offload the KV cache to host memory",
        "Give each replica 256 GiB of host memory for evicted blocks.",
        "prefixes that come back after they were evicted",
        lambda scenario: replace(scenario, offload_gib=256.0),
    ),
    Lever(
        "chunked_prefill",
        "Prefill in chunks of 2,048 tokens",
        "Cap the prompt tokens that one step prefills at 2,048 (the engine's limit of batched tokens for prefill).",
        "answers that stall while long prompts of others are read",
        lambda scenario: replace(scenario, chunk_tokens=2048),
    ),
    Lever(
        "disaggregation",
        "Prefill and decode on machines of their own",
        "Let one replica prefill and another decode, and move the KV cache between them.",
        "a fast link between the replicas (50 GB/s per chip is assumed), and load enough for two",
        lambda scenario: replace(scenario, disaggregate=(1, 1)),
        lambda scenario: replace(scenario, replicas=2),
    ),
    Lever(
        "no_prefix_cache",
        "Without a prefix cache",
        "",
        "",
        lambda scenario: replace(scenario, prefix_cache=False),
    ),
)


@dataclass(slots=True, frozen=True)
class Refusals:
    """How many calls are longer than a model's window, and than the memory of a replica."""

    over_context: int
    over_memory: int


def least_refusals(workload: Workload, scenario: Scenario) -> Refusals:
    """Return the calls that lengths alone tell a deployment must refuse: a replay refuses these, and hardly more.

    Raises:
        InfeasibleError: the deployment cannot be.
        UnknownNameError: a profile that is none.
    """
    deployment = build_deployment(scenario, workload)
    rules = deployment.fleet.rules
    served = count_as(workload, scenario, deployment.step_model.model.id).workload
    inputs = served.input_tokens
    within = inputs <= rules.window_tokens
    over_memory = within & (inputs + served.output_tokens > rules.kv_tokens)
    return Refusals(int(np.count_nonzero(~within)), int(np.count_nonzero(over_memory)))


def replay_lever(workload: Workload, baseline: ReplayResult, lever: Lever) -> ReplayResult | None:
    """Replay the change at the smallest parallelism that refuses no more calls than the baseline, if any."""
    allowed = sum(baseline.as_dict()["refused"].values())
    return least_replay(workload, lever.change(baseline.scenario), allowed)


def least_replay(
    workload: Workload, scenario: Scenario, allowed: int, *, with_interval: bool = True
) -> ReplayResult | None:
    """Replay a scenario on the fewest chips, from its own number on, that refuse at most so many calls, if any do."""
    whole = load_hardware(scenario.hardware).deployment is not None
    for ranks in [scenario.tp] if whole else [ranks for ranks in PARALLELISM if ranks >= (scenario.tp or 1)]:
        wider = replace(scenario, tp=ranks)
        try:
            refused = least_refusals(workload, wider)
            if refused.over_context + refused.over_memory > allowed:
                continue
            result = replay(workload, wider, with_interval=with_interval)
        except InfeasibleError:
            continue
        except UserError:
            return None
        if sum(result.as_dict()["refused"].values()) <= allowed:
            return result
    return None


def cost_range(result: ReplayResult, basis: str) -> Money | None:
    """Return a replay's cost on a basis; None where no price is known."""
    if result.bill is None:
        return None
    found = result.bill.by_basis.get(basis)
    return None if found is None else Money(found.low, found.mid, found.high)


@dataclass(slots=True, frozen=True)
class Comparison:
    """What a replay is set beside: the baseline, and how often the replayed calls stand for all of them."""

    baseline: ReplayResult
    dataset: Dataset
    ledger: Ledger
    scale: Decimal

    def beside(self, lever: Lever, workload: Workload) -> Comparison:
        """Return the comparison with what the lever is set beside, where that is cheaper than the baseline."""
        if lever.beside is None:
            return self
        other = replay(workload, lever.beside(self.baseline.scenario))
        one, two = cost_range(self.baseline, SHARED), cost_range(other, SHARED)
        return replace(self, baseline=other) if one and two and two.mid < one.mid else self

    def worth(self, id_: str, title: str, action: str, condition: str, result: ReplayResult) -> list[Recommendation]:
        """Return a recommendation where a replay is cheaper than the baseline and refuses no more calls."""
        before, after = cost_range(self.baseline, SHARED), cost_range(result, SHARED)
        one, other = self.baseline.as_dict(), result.as_dict()
        more_refused = sum(other["refused"].values()) > sum(one["refused"].values())
        if not action or before is None or after is None or not before.mid or more_refused:
            return []
        share = (before.mid - after.mid) / before.mid
        if share < MINIMUM_SHARE:
            return []
        saving = Money.ordered(before.low, before.mid, before.high).part(share * self.scale)
        nothing = Money(ZERO, ZERO, ZERO)
        reserved = bool(self.ledger.reserved)
        return [
            Recommendation(
                id=id_,
                title=title,
                action=action,
                method=f"The same calls replayed on {title_of(self.baseline)} and with the change; hours of busy "
                f"hardware on a fleet in use {self.baseline.scenario.payment.utilisation:.0%} of its time, at the "
                "profile's low, middle and high price.",
                saving_usd=saving,
                saving_share=float(share),
                period_days=self.dataset.days,
                cash_usd=nothing if reserved else saving,
                freed_capacity_usd=saving if reserved else nothing,
                latency_effect=latency_effect(one, other),
                effort=effort_of(self.baseline, result),
                payback_days=None,
                one_off_usd=ZERO,
                preconditions=[condition, f"step times are {other['confidence']}: {other['confidence_reason']}"],
                evidence=[],
                exclusive_with=(),
                confidence=f"replay, {other['confidence']}",
                calls=other["calls"],
                basis="own_hardware",
                details={
                    "baseline": one["scenario"],
                    "scenario": other["scenario"],
                    **_energy(one, other),
                },
            )
        ]


def effort_of(before: ReplayResult, after: ReplayResult) -> str:
    """Return in words what it takes to serve as another replay does."""
    same_machine = after.scenario.hardware == before.scenario.hardware
    return "low: an engine flag" if same_machine else "high: other machines"


def latency_effect(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Return in words how a median run changes between two replays."""
    old, new = before["run_e2e_s"]["p50"], after["run_e2e_s"]["p50"]
    if not old or not new:
        return "unknown"
    change = new / old - 1
    if abs(change) < 0.005:
        return "median run unchanged"
    return f"median run {abs(change):.0%} {'slower' if change > 0 else 'faster'} ({old:.1f} s to {new:.1f} s)"


def _energy(before: dict[str, Any], after: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Return joules and grams of CO2 equivalent of the replayed calls, before and after; None where unknown."""
    kwh = {"before": before["energy_kwh"], "after": after["energy_kwh"]}
    return {
        "energy_j": {name: None if value is None else value * 3.6e6 for name, value in kwh.items()},
        "gco2e": {"before": before["gco2e"], "after": after["gco2e"]},
    }


def other_hardware(comparison: Comparison, results: dict[str, ReplayResult]) -> list[Recommendation]:
    """Return the cheapest other machine, where it is cheaper than the baseline."""
    costs: list[tuple[Decimal, str]] = []
    for hardware, result in results.items():
        found = cost_range(result, SHARED)
        if hardware != BASELINE and found is not None:
            costs.append((found.mid, hardware))
    for _, hardware in sorted(costs):
        result = results[hardware]
        worth = comparison.worth(
            "other_hardware",
            f"Serve on {load_hardware(hardware).name}",
            f"Move these calls from {title_of(comparison.baseline)} to {title_of(result)}.",
            "the price of your own contract: list prices of one chip differ several times over between providers",
            result,
        )
        if worth:
            return worth
    return []
