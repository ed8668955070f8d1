"""The step-time model of one deployment: profiles in, seconds per step out, with memory, confidence and interval."""

from __future__ import annotations

import math
from array import array
from dataclasses import astuple, dataclass, replace

from inferometer.analyzer.stepconstants import choose_constants
from inferometer.analyzer.stepterms import (
    FOUR_BIT,
    KV_BYTES,
    WEIGHT_BYTES,
    Parallelism,
    StepLoad,
    StepTerms,
    common_precision,
    compute_precision,
    demand,
    peaks,
    seconds_of,
    terms_of,
)
from inferometer.profiles.engines import Calibration, Constants, Correction, Engine, Spread
from inferometer.profiles.hardware import GIB, Hardware
from inferometer.profiles.models import Model
from inferometer.schema.errors import InfeasibleError, UnknownNameError

__all__ = ["Parallelism", "Speculation", "StepLoad", "StepModel", "step_model"]


@dataclass(frozen=True, slots=True)
class Speculation:
    """Speculative decoding: ``kind`` is mtp, eagle or draft; a step drafts ``tokens`` and keeps ``acceptance_length``.

    ``acceptance_length`` is the mean number of tokens a step yields, the verified one included: 1 to tokens + 1.
    """

    kind: str
    tokens: int
    acceptance_length: float
    draft: Model | None = None


@dataclass(frozen=True, slots=True)
class StepModel:
    """A deployment's step times, memory and how far to trust them.

    ``kv_capacity_tokens`` is of the whole replica (all attention groups together). ``confidence`` is calibrated,
    family, or uncalibrated; an 80 % interval of a step is its seconds times ``spread.tpot_p10`` to ``tpot_p90``.
    ``versions`` are the engine's that the constants come from, and ``version_standing`` is how the one asked for stands
    to them: empty where none was asked for, else measured, older, newer or between.
    `extrapolation` says how far a load lies outside what was fitted.
    """

    terms: StepTerms
    hardware: Hardware
    engine: Engine
    model: Model
    parallelism: Parallelism
    precision: str
    kv_precision: str
    speculation: Speculation | None
    weight_bytes_per_chip: float
    kv_bytes_per_token: float
    kv_capacity_tokens: int
    frontend_seconds: float
    arrival_burst: float
    constants: Constants
    calibration: Calibration | None
    versions: tuple[str, ...]
    version_standing: str
    confidence: str
    reason: str
    spread: Spread

    def as_array(self) -> array[float]:
        """Return the terms as float64 in the header's order; C reads it through the buffer protocol."""
        return array("d", astuple(self.terms))

    def seconds(self, load: StepLoad) -> float:
        """Return the seconds of one step."""
        return seconds_of(self.terms, load)

    def extrapolation(self, **values: float) -> float:
        """Return how far `values` (``context_tokens``, ``sequences``, ``chips``) lie outside the fitted rows' hull.

        0 is inside; 1 is a factor of two beyond the nearest fitted value, 3 a factor of four.
        """
        if self.calibration is None:
            return 0.0
        hull = self.calibration.fit.hull
        return max((hull[name].distance(value) for name, value in values.items() if name in hull), default=0.0)


def step_model(
    hardware: Hardware,
    engine: Engine,
    model: Model,
    *,
    precision: str | None = None,
    kv_precision: str | None = None,
    tp: int = 1,
    pp: int = 1,
    ep: int = 1,
    dp: int = 1,
    speculation: Speculation | None = None,
) -> StepModel:
    """Return the step-time model of one replica.

    Args:
        hardware: the chip.
        engine: the serving engine, at the version it is asked for.
        model: the model.
        precision: of the weights; the model's own where None (widened to what the chip can).
        kv_precision: of the KV cache; BF16 where None, FP8 where the engine matches it to eight-bit weights.
        tp: tensor-parallel ranks.
        pp: pipeline stages.
        ep: expert-parallel ranks within a stage.
        dp: data-parallel attention groups within a stage.
        speculation: speculative decoding, or None.

    Raises:
        UnknownNameError: a precision that is none.
        InfeasibleError: the chip lacks the precision, or the model does not fit in memory (says how much is missing).
    """
    parallelism = Parallelism(tp, pp, ep, dp)
    parallelism.check()
    if model.attention.heads % tp:
        raise InfeasibleError(f"{tp} tensor ranks do not divide the {model.attention.heads} heads of {model.id}")
    if pp > model.layers and hardware.deployment is None:
        raise InfeasibleError(f"{pp} pipeline stages are more than the {model.layers} layers of {model.id}")
    engine = replace(engine, scheduler=engine.scheduler.on(hardware.memory.capacity_bytes))
    precision = precision or _native_precision(hardware, model)
    kv_precision = kv_precision or _kv_precision(hardware, engine, precision)
    for name, known in ((precision, WEIGHT_BYTES), (kv_precision, KV_BYTES)):
        if name not in known:
            raise UnknownNameError("precision", name, known)
    chosen = choose_constants(hardware, engine, model, precision)
    constants, correction = chosen.constants, chosen.correction
    asked = demand(model, parallelism, precision, kv_precision)
    terms = terms_of(asked, peaks(hardware, model, parallelism, precision), constants)
    if correction is not None:
        terms = corrected(terms, correction)
    if speculation is not None:
        terms = _with_drafts(terms, model, speculation, hardware, constants, tp, precision)
    weights, kv_bytes, capacity = replica_memory(hardware, engine, model, parallelism, precision, kv_precision)
    return StepModel(
        terms=terms,
        hardware=hardware,
        engine=engine,
        model=model,
        parallelism=parallelism,
        precision=precision,
        kv_precision=kv_precision,
        speculation=speculation,
        weight_bytes_per_chip=weights,
        kv_bytes_per_token=kv_bytes,
        kv_capacity_tokens=capacity,
        frontend_seconds=constants.frontend_ms * 1e-3 * (correction.frontend_factor if correction else 1.0),
        arrival_burst=constants.arrival_burst * (correction.burst_factor if correction else 1.0),
        constants=constants,
        calibration=chosen.calibration,
        versions=chosen.versions,
        version_standing=chosen.version_standing,
        confidence=chosen.confidence,
        reason=chosen.reason,
        spread=chosen.spread,
    )


def _native_precision(hardware: Hardware, model: Model) -> str:
    native = model.native_precision
    return native if native in FOUR_BIT or hardware.compute.rate(native) is not None else "bf16"


def _kv_precision(hardware: Hardware, engine: Engine, precision: str) -> str:
    eight_bit = precision not in ("bf16", "fp32") and hardware.compute.rate("fp8") is not None
    return "fp8" if engine.scheduler.kv_precision == "weights" and eight_bit else "bf16"


def corrected(terms: StepTerms, correction: Correction) -> StepTerms:
    """Scale the terms by a model's factors; members may be arrays, one element a deployment."""
    step = correction.step_factor
    weight, kv = correction.weight_factor * step, correction.kv_factor * step
    compute, host = correction.compute_factor * step, correction.host_factor * step
    return replace(
        terms,
        weight_seconds=terms.weight_seconds * weight,
        expert_weight_seconds=terms.expert_weight_seconds * weight,
        kv_seconds_per_token=terms.kv_seconds_per_token * kv,
        window_kv_seconds_per_token=terms.window_kv_seconds_per_token * kv,
        state_seconds_per_sequence=terms.state_seconds_per_sequence * kv,
        gemm_seconds_per_token=terms.gemm_seconds_per_token * compute,
        expert_seconds_per_token=terms.expert_seconds_per_token * compute,
        kv_compute_seconds_per_token=terms.kv_compute_seconds_per_token * compute,
        window_compute_seconds_per_token=terms.window_compute_seconds_per_token * compute,
        pair_seconds=terms.pair_seconds * compute,
        window_pair_seconds=terms.window_pair_seconds * compute,
        link_seconds=terms.link_seconds * host,
        link_seconds_per_token=terms.link_seconds_per_token * step,
        host_seconds=terms.host_seconds * host,
        host_seconds_per_sequence=terms.host_seconds_per_sequence * host,
    )


def _with_drafts(
    terms: StepTerms,
    model: Model,
    speculation: Speculation,
    hardware: Hardware,
    constants: Constants,
    tensor: int,
    precision: str,
) -> StepTerms:
    """Add the drafting passes: one layer and the head for MTP and EAGLE, a whole small model for ``draft``."""
    if not 1.0 <= speculation.acceptance_length <= speculation.tokens + 1:
        raise InfeasibleError(
            f"an acceptance length of {speculation.acceptance_length} is impossible with {speculation.tokens} drafts"
        )
    drafter = speculation.draft
    if drafter is not None:
        layers, parameters = drafter.layers, drafter.common_parameters
    else:
        layers = 1
        parameters = model.common_parameters / model.layers + model.vocabulary * model.hidden
    bandwidth = hardware.memory.bandwidth_bytes_per_s * constants.weight_bandwidth_efficiency
    rate = hardware.compute.rates[compute_precision(hardware, common_precision(model, precision))]
    reading = parameters * WEIGHT_BYTES["bf16"] / tensor / bandwidth
    host = layers * constants.host_us_per_layer * 1e-6 + constants.collective_us * 1e-6 * 2 * layers * (tensor > 1)
    return replace(
        terms,
        draft_seconds=speculation.tokens * (reading + host),
        draft_seconds_per_token=2.0 * parameters / tensor / (rate * constants.compute_efficiency),
    )


def replica_memory(
    hardware: Hardware, engine: Engine, model: Model, parallelism: Parallelism, precision: str, kv_precision: str
) -> tuple[float, float, int]:
    """Return (weight bytes per chip, KV bytes per token per chip, KV tokens of the replica).

    Raises:
        InfeasibleError: the weights leave no room for one block; says how much is missing and what would fit.
    """
    weights = _weight_bytes(model, parallelism, precision)
    usable = hardware.memory.capacity_bytes * engine.scheduler.memory_share - engine.scheduler.reserved_gib * GIB
    room = usable - weights
    attention = model.attention
    replicated = 1 if model.family == "mla" else attention.kv_heads
    kv_bytes = (
        attention.kv_elements_per_token
        * KV_BYTES[kv_precision]
        / min(parallelism.tensor, replicated)
        / parallelism.pipeline
    )
    block = engine.scheduler.kv_block_tokens
    if room < kv_bytes * block:
        missing = (kv_bytes * block - room) / GIB
        raise InfeasibleError(
            f"{model.id} at {precision} does not fit: {missing:.1f} GiB a chip are missing on {parallelism.chips} x "
            f"{hardware.id}; {_smallest(hardware, engine, model, precision)}"
        )
    blocks = math.floor(room / (kv_bytes * block))
    return weights, kv_bytes, blocks * block * parallelism.data


def _weight_bytes(model: Model, parallelism: Parallelism, precision: str) -> float:
    experts = model.experts.parameters if model.experts else 0.0
    tables = 2.0 * model.vocabulary * model.hidden
    common = max(model.parameters - experts - tables, 0.0)
    per_stage = (
        common * WEIGHT_BYTES[common_precision(model, precision)] / parallelism.tensor
        + tables * WEIGHT_BYTES["bf16"] / parallelism.tensor
        + experts * WEIGHT_BYTES[precision] / parallelism.stage_chips
    )
    return per_stage / parallelism.pipeline


def _smallest(hardware: Hardware, engine: Engine, model: Model, precision: str) -> str:
    usable = hardware.memory.capacity_bytes * engine.scheduler.memory_share - engine.scheduler.reserved_gib * GIB
    domain = hardware.link.domain_chips if hardware.link else 1
    tensor = 1
    while tensor <= 4096:
        if _weight_bytes(model, Parallelism(tensor=tensor), precision) < usable:
            beyond = "" if tensor <= domain else f" (more than the {domain} of one fast domain)"
            return f"the smallest tensor parallelism that fits is {tensor}{beyond}"
        tensor *= 2
    return "no tensor parallelism up to 4096 fits"
