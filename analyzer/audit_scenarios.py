"""The audited calls replayed elsewhere: a few hardware profiles, and for self-hosted calls the levers of serving.

Calls to a closed model are replayed on an open stand-in, which says what the same tokens would take, not what another
model would answer. Recommendations about serving are made only for calls that were served by an engine of one's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from typing import Any

from inferometer.analyzer.audit import Replayed
from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import CostedCall
from inferometer.analyzer.ledger import Ledger
from inferometer.analyzer.ratio import Range
from inferometer.analyzer.recommend import Proposal, Recommendation
from inferometer.analyzer.recommend_energy import ENERGY, energy_advice
from inferometer.analyzer.recommend_fleet import mixed_fleet_advice, workload_of
from inferometer.analyzer.recommend_hardware import (
    payment_advice,
    self_hosting_advice,
    self_hosting_proposal,
)
from inferometer.analyzer.recommend_replicas import consolidation_advice
from inferometer.analyzer.recommend_serving import (
    BASELINE,
    LEVERS,
    PARALLELISM,
    SHARED,
    Comparison,
    cost_range,
    least_refusals,
    other_hardware,
    replay_lever,
    title_of,
)
from inferometer.analyzer.recommend_serving_set import (
    Candidate,
    lever_candidate,
    machine_candidate,
    mixed_candidate,
    serving_set,
)
from inferometer.analyzer.replay import Payment, ReplayResult, Scenario, replay
from inferometer.analyzer.replay_fleet import whole_shapes
from inferometer.analyzer.roofline import roofline
from inferometer.analyzer.workload import Workload
from inferometer.analyzer.workload_text import count_texts
from inferometer.profiles.hardware import Hardware, load_hardware
from inferometer.profiles.models import load_model
from inferometer.profiles.prices.published import SELF_HOSTED
from inferometer.schema.errors import InfeasibleError, UnknownNameError, UserError
from inferometer.schema.wording import counted
from inferometer.store import Store

STAND_IN = "meta-llama/Llama-3.1-70B"
HARDWARE = ("h100_sxm", "h200_sxm", "b200_sxm", "mi300x", "tpu_v6e", "cerebras_cs3", "sambanova_sn50")
ENGINES = {"gpu": "vllm"}
"""Engine by kind of hardware; others run what their vendor ships."""
REPLAYED_CALLS = 4_000
"""Larger workloads are replayed on whole sessions of about so many calls."""


@dataclass(slots=True)
class Served:
    """Calls that are replayed, and what is known of how they were served."""

    calls: Sequence[CostedCall]
    model: str
    self_hosted: bool
    note: str
    is_own_model: bool = False
    """Whether the calls really went to the model they are replayed on."""

    def sample(self, limit: int) -> tuple[Served, Decimal]:
        """Return whole sessions, evenly spread, of about `limit` calls, and how often they stand for all tokens."""
        if len(self.calls) <= limit:
            return self, Decimal(1)
        sessions = sorted({_session(call) for call in self.calls})
        stride = -(-len(self.calls) // limit)
        kept = frozenset(sessions[::stride])
        calls = [call for call in self.calls if _session(call) in kept]
        scale = Decimal(_tokens(self.calls)) / max(_tokens(calls), 1)
        note = f"{self.note} Replayed are {len(calls):,} of the {len(self.calls):,} calls: every session of {stride}."
        return replace(self, calls=calls, note=note), scale


def _session(call: CostedCall) -> str:
    return call.placement.session_id or call.placement.run_id or ""


def _tokens(calls: Sequence[CostedCall]) -> int:
    return sum(call.input_tokens + call.output_tokens for call in calls)


def open_model(name: str | None) -> str | None:
    """Return the profile id of an open model, None where the model is closed or has no profile."""
    if not name:
        return None
    try:
        return load_model(name).id
    except UnknownNameError:
        return None


def is_self_hosted(call: CostedCall) -> bool:
    """Whether an engine of one's own served a call."""
    return (call.inference.provider or "").lower() in SELF_HOSTED


def served_calls(dataset: Dataset, stand_in: str | None) -> Served | None:
    """Return what to replay: the self-hosted calls where there are any, else all, on a stand-in for closed models."""
    own = [call for call in dataset.calls if is_self_hosted(call)]
    profiles = {name: open_model(name) for name in {call.inference.model for call in dataset.calls}}
    for calls, self_hosted in ((own, True), (dataset.calls, False)):
        models = Counter(found for call in calls if (found := profiles[call.inference.model]) is not None)
        if models and stand_in is None:
            model, count = models.most_common(1)[0]
            kept = [call for call in calls if profiles[call.inference.model] == model]
            return Served(
                kept, model, self_hosted, f"{counted(count, 'call')} that went to {model}, replayed on it.", True
            )
    if not dataset.calls:
        return None
    model = load_model(stand_in or STAND_IN).id
    note = (
        f"No call went to an open model, so {model} stands in: what these tokens would take there, not what it would "
        "answer. Behaviour is held fixed."
    )
    if stand_in is not None:
        note = f"All calls, replayed on {model} as asked. Behaviour is held fixed."
    return Served(dataset.calls, model, False, note)


def replay_audit(dataset: Dataset, ledger: Ledger, stand_in: str | None = None, store: Store | None = None) -> Replayed:
    """Replay an audit's calls; nothing is returned where no call states its lengths.

    Args:
        dataset: the audited calls.
        ledger: reserved hardware turns savings into freed capacity.
        stand_in: the open model to replay on; the one that most calls went to, else a default, where None.
        store: where texts were kept, to be counted with the replayed model's vocabulary; none where None.

    Raises:
        UnknownNameError: the stand-in has no profile.
    """
    found_calls = served_calls(dataset, stand_in)
    if found_calls is None:
        return Replayed()
    served, scale = found_calls.sample(REPLAYED_CALLS)
    count = None if store is None else partial(count_texts, store, served.model)
    workload = workload_of(served.calls, count)
    if workload is None:
        return Replayed()
    rows: list[dict[str, Any]] = []
    results: dict[str, ReplayResult] = {}
    for hardware in HARDWARE:
        result = _on_hardware(workload, served.model, hardware)
        if result is not None:
            results[hardware] = result
            rows.append(_row("hardware", title_of(result), served.note, result))
    baseline = results.get(BASELINE)
    if baseline is None:
        return Replayed(scenarios=rows)
    comparison = Comparison(baseline, dataset, ledger, scale)
    candidates: list[Candidate] = []
    levers: dict[str, ReplayResult] = {}
    for lever in LEVERS if served.self_hosted else LEVERS[:2]:
        result = replay_lever(workload, baseline, lever)
        if result is not None:
            levers[lever.id] = result
            rows.append(_row(lever.id, lever.title, served.note, result))
            if served.self_hosted:
                advised = comparison.beside(lever, workload).worth(
                    lever.id, lever.title, lever.action, lever.condition, result
                )
                candidates += [lever_candidate(one, lever) for one in advised]
    substitutes: list[tuple[Proposal, Recommendation]] = []
    if served.self_hosted:
        candidates += _machine_candidates(comparison, results, served.calls)
        hours = payment_advice(comparison, found_calls.calls)
        hours += consolidation_advice(comparison, workload, found_calls.calls)
        candidates += [Candidate(one, None) for one in hours]
        machines = {f"hardware-{name}": result for name, result in results.items()}
        candidates += [Candidate(one, None, beside=ENERGY) for one in energy_advice(comparison, machines | levers)]
    elif served.is_own_model:
        advised = self_hosting_advice(comparison, list(results.values()), found_calls.calls)
        substitutes = [(self_hosting_proposal(one, found_calls.calls), one) for one in advised]
    found = [one.recommendation for one in candidates] + [one for _, one in substitutes]
    found.sort(key=lambda one: -one.saving_usd.mid)
    shared = cost_range(baseline, SHARED)
    per_day = None
    if shared is not None and dataset.days:
        per_day = Range(*(float(amount * scale) / dataset.days for amount in (shared.low, shared.mid, shared.high)))
    together = serving_set(comparison, workload, candidates)
    return Replayed(rows, found, per_day, roofline(baseline, HARDWARE, ledger), substitutes, together)


def _machine_candidates(
    comparison: Comparison, results: dict[str, ReplayResult], calls: Sequence[CostedCall]
) -> list[Candidate]:
    found = [
        machine_candidate(one, results[one.details["scenario"]["hardware"]])
        for one in other_hardware(comparison, results)
    ]
    for one in mixed_fleet_advice(comparison, results, calls):
        short, long = results[one.details["short"]], results[one.details["long"]]
        found.append(mixed_candidate(one, calls, short, long))
    return found


def _on_hardware(workload: Workload, model: str, hardware: str) -> ReplayResult | None:
    """Replay on a machine at the best precision and in the fewest chips that hold every call; None where none does."""
    profile = load_hardware(hardware)
    engine = ENGINES.get(profile.kind, "vendor_runtime")
    for precision in ("fp8", "bf16"):
        shapes = list(_shapes(profile, model))
        for tp, pp in shapes:
            scenario = Scenario(hardware, engine, model, precision=precision, tp=tp, pp=pp, payment=_payment(hardware))
            try:
                if (tp, pp) != shapes[-1] and least_refusals(workload, scenario).over_memory:
                    continue
                result = replay(workload, scenario)
            except InfeasibleError:
                continue
            except UserError:
                break
            if result.as_dict()["refused"]["over_memory"] == 0 or (tp, pp) == shapes[-1]:
                return result
    return None


def _shapes(hardware: Hardware, model: str) -> Iterator[tuple[int, int | None]]:
    """Yield tensor ranks and pipeline stages to try, fewest chips first; whole machines where a chip is had only so."""
    if hardware.deployment:
        yield from whole_shapes(hardware.deployment, load_model(model))
    else:
        yield from ((ranks, None) for ranks in PARALLELISM)


def _payment(hardware: str) -> Payment:
    """Return on-demand prices, else the first basis that the profile has."""
    for basis in ("on_demand", "rental_3_years", "reserved", "spot", "owned"):
        if load_hardware(hardware).price_range(basis) is not None:
            return Payment(basis=basis)
    return Payment()


def _row(kind: str, title: str, note: str, result: ReplayResult) -> dict[str, Any]:
    document = result.as_dict()
    hardware = document["scenario"]["hardware"]
    return {"id": f"{kind}-{hardware}", "kind": kind, "title": title, "note": note, **document}
