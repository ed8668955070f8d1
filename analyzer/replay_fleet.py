"""From a scenario to a fleet: profiles become step times, batching rules and memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from inferometer.analyzer.replay_background import background_lengths
from inferometer.analyzer.replay_engine import PROGRESS_PARTS, Background, Fleet, Rules
from inferometer.analyzer.replay_scenario import Scenario
from inferometer.analyzer.stepterms import StepTerms
from inferometer.analyzer.steptime import Speculation, StepModel, step_model
from inferometer.analyzer.workload import Workload
from inferometer.profiles.engines import load_engine
from inferometer.profiles.hardware import GIB, Hardware, load_hardware
from inferometer.profiles.hardware import Deployment as WholeMachine
from inferometer.profiles.models import Model, load_model
from inferometer.schema.errors import InfeasibleError

ACCEPTANCE_LENGTHS = {1: 1.84, 2: 2.48, 3: 2.95, 4: 3.265, 5: 3.525, 6: 3.595, 7: 3.74, 8: 3.825}
"""Median mean acceptance length by drafted tokens, 14 measured settings of seven models each (SPEED-Bench coding;
SemiAnalysisAI/InferenceX golden_al_distribution, 2026-11-23). The range is 1.78 to 1.93 for one draft, 2.58 to 5.21 for
eight: give the measured one where there is one."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A scenario's fleet with the step models behind it."""

    fleet: Fleet
    step_model: StepModel
    replicas: int

    @property
    def chips(self) -> int:
        """Chips of the whole fleet, in whole deployments where the machine is only had so."""
        chips = self.replicas * self.step_model.parallelism.chips
        deployment = self.step_model.hardware.deployment
        return math.ceil(chips / deployment.chips) * deployment.chips if deployment else chips


@lru_cache(maxsize=256)
def _step_model(
    hardware: str,
    engine: str,
    model: str,
    precision: str | None,
    kv_precision: str | None,
    parallelism: tuple[int, int, int, int],
    speculation: Speculation | None,
) -> StepModel:
    tp, pp, ep, dp = parallelism
    return step_model(
        load_hardware(hardware),
        load_engine(engine),
        load_model(model),
        precision=precision,
        kv_precision=kv_precision,
        tp=tp,
        pp=pp,
        ep=ep,
        dp=dp,
        speculation=speculation,
    )


def build_step_model(scenario: Scenario) -> StepModel:
    """Return the step times and memory of one replica of a scenario.

    Raises:
        UnknownNameError: a profile, precision or router that is none.
        InfeasibleError: the model does not fit, the chip lacks the precision, or a count is out of range.
    """
    scenario.check()
    return _step_model(
        scenario.hardware,
        scenario.engine,
        scenario.model,
        scenario.precision,
        scenario.kv_precision,
        (*_shape_of(scenario), scenario.ep, scenario.dp),
        speculation_of(scenario),
    )


def own_engine(hardware: Hardware) -> str | None:
    """Return the engine of a machine that runs its vendor's alone, None for chips that have a choice."""
    return "vendor_runtime" if hardware.kind in ("sram", "dataflow") else None


def whole_shapes(deployment: WholeMachine, model: Model) -> Iterator[tuple[int, int]]:
    """Yield (tensor ranks, pipeline stages) of one, two, ... whole machines, until every stage has a single layer.

    A machine has the stages of its profile, its ranks narrowed to what divides the model's heads; a model with fewer
    layers than stages leaves chips idle.
    """
    tensor = math.gcd(deployment.chips // deployment.pipeline_stages, model.attention.heads)
    stages = deployment.chips // tensor
    for machines in range(1, math.ceil(model.layers / stages) + 1):
        yield tensor, min(machines * stages, model.layers)


def _shape_of(scenario: Scenario) -> tuple[int, int]:
    deployment = load_hardware(scenario.hardware).deployment
    if deployment is None or scenario.tp is not None or scenario.pp is not None:
        return 1 if scenario.tp is None else scenario.tp, 1 if scenario.pp is None else scenario.pp
    return next(whole_shapes(deployment, load_model(scenario.model)))


def build_deployment(scenario: Scenario, workload: Workload, slowdown: float = 1.0) -> Deployment:
    """Return the fleet of a scenario.

    Args:
        scenario: what is asked for.
        workload: gives the background its lengths where these are its own.
        slowdown: factor on all step times, to replay at the ends of their interval.

    Raises:
        UnknownNameError: a profile, precision or router that is none.
        UserError: a background that is none, or whose file cannot be read.
        InfeasibleError: the model does not fit, the chip lacks the precision, or a count is out of range.
    """
    model = build_step_model(scenario)
    prefill, decode = scenario.disaggregate or (scenario.replicas, 0)
    chips = model.parallelism.chips
    link_bytes_per_s = scenario.link_gb_per_s * 1e9 * chips * min(prefill, max(decode, 1)) / max(prefill, 1)
    background = None
    if scenario.background_rate_per_s > 0:
        inputs, outputs = background_lengths(scenario.background_profile, workload)
        background = Background(scenario.background_rate_per_s, inputs, outputs)
    rules = rules_of(scenario, model)
    fleet = Fleet(
        rules=rules if background else replace(rules, max_sequences=min(rules.max_sequences, max(1, workload.calls))),
        step_model=_slowed(model, slowdown),
        replicas=prefill,
        decode_replicas=decode,
        router=scenario.router,
        round_trip_s=scenario.round_trip_s,
        entry_s=model.frontend_seconds * slowdown,
        front_workers=scenario.gateway_workers,
        front_call_s=scenario.gateway_call_s,
        front_token_s=scenario.gateway_token_s,
        transfer_s=scenario.link_latency_s,
        transfer_token_s=replica_kv_bytes(model) / link_bytes_per_s,
        background=background,
    )
    return Deployment(fleet, model, prefill + decode)


def speculation_of(scenario: Scenario) -> Speculation | None:
    """Return the speculative decoding of a scenario.

    Its acceptance length is the one given, else the one published for the model's own drafting head, else the median of
    those of other models.

    Raises:
        UnknownNameError: a model or draft model that is none.
        InfeasibleError: more drafts than anything was published for, and no acceptance length.
    """
    drafts = scenario.speculative_tokens
    if drafts == 0:
        return None
    length = scenario.acceptance_length or _published_length(scenario) or ACCEPTANCE_LENGTHS.get(drafts)
    if length is None:
        raise InfeasibleError(
            f"no acceptance length is published for {drafts} drafted tokens: give 1 to {max(ACCEPTANCE_LENGTHS)} "
            "tokens, or the acceptance length that was measured"
        )
    draft = load_model(scenario.draft_model) if scenario.draft_model else None
    return Speculation(scenario.speculative_kind, drafts, length, draft)


def _published_length(scenario: Scenario) -> float | None:
    """Return what a model's profile says of its own head; a small model that drafts is another matter."""
    if scenario.speculative_kind == "draft":
        return None
    lengths = load_model(scenario.model).acceptance_lengths
    return lengths[scenario.speculative_tokens - 1] if scenario.speculative_tokens <= len(lengths) else None


def replica_kv_bytes(model: StepModel) -> float:
    """Return the bytes that one token's keys and values take in a replica, each held once."""
    ranks = model.parallelism.tensor * model.parallelism.pipeline
    replicated = 1 if model.model.family == "mla" else min(model.parallelism.tensor, model.model.attention.kv_heads)
    return model.kv_bytes_per_token * min(ranks, replicated * model.parallelism.pipeline)


def rules_of(scenario: Scenario, model: StepModel) -> Rules:
    """Return the batching rules of an engine, with the scenario's changes and the model's memory."""
    scheduler = model.engine.scheduler
    step_tokens = scenario.max_step_tokens or scheduler.max_batched_tokens
    groups = model.parallelism.data
    hull = model.calibration.fit.hull if model.calibration else {}
    speculation = model.speculation
    return Rules(
        max_sequences=(scenario.max_sequences or scheduler.max_sequences) * groups,
        max_step_tokens=step_tokens * groups,
        max_chunk_tokens=scenario.chunk_tokens or step_tokens * groups,
        prefill_first=float(scheduler.batching == "prefill_first"),
        reserve_share=float(scheduler.admission == "reserve_all"),
        kv_tokens=scenario.kv_tokens or model.kv_capacity_tokens,
        window_tokens=model.model.context_tokens,
        slack_tokens=scheduler.kv_block_tokens,
        progress=round((speculation.acceptance_length if speculation else 1.0) * PROGRESS_PARTS),
        draft_tokens=speculation.tokens if speculation else 0,
        offload_tokens=int(scenario.offload_gib * GIB / replica_kv_bytes(model)),
        offload_s_per_token=replica_kv_bytes(model) / (scenario.offload_gb_per_s * 1e9 * model.parallelism.chips),
        hull_sequences=hull["users"].high if "users" in hull else 0.0,
        hull_context_tokens=sum(hull[name].high for name in ("input_tokens", "output_tokens") if name in hull),
        hull_hit_share=hull["hit_rate"].high if "hit_rate" in hull else -1.0,
    )


_RATIOS = frozenset({"attention_groups", "microbatches", "expert_log_miss", "expert_imbalance", "window_tokens"})


def _slowed(model: StepModel, slowdown: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.array(model.as_array(), np.float64)
    for index, name in enumerate(StepTerms.__dataclass_fields__):
        if name not in _RATIOS:
            values[index] *= slowdown
    return values
