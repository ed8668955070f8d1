"""How long one scheduler step takes, from first principles and a few fitted constants.

Three layers, each a plain function:

1. `demand` says what a model asks of one rank: bytes to read, operations to do, messages to send (no chip yet);
2. `terms_of` divides that by a chip's peaks and an engine's efficiencies: the doubles of ``csrc/steptime.h``;
3. `seconds_of` adds the terms up for one step's load, as ``step_seconds`` does in C.

Reading weights and computing with them add up. The share of the chip's rate that products reach then depends on their
size: it grows with a step's tokens as n / (n + half), where half is the tokens whose computing takes as long as reading
the weights. What else was tried is in docs/decisions/0011-fitted-step-times.md.

`analyzer/steptime.py` puts the three together for profiles, with memory, confidence and interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from inferometer.profiles.engines import Constants
from inferometer.profiles.hardware import Hardware
from inferometer.profiles.models import Experts, Model
from inferometer.schema.errors import InfeasibleError

WEIGHT_BYTES = {"fp32": 4.0, "bf16": 2.0, "fp8": 1.0, "int8": 1.0, "int4": 0.53, "fp4": 0.5625}
"""Bytes of one weight with its share of scales: group-of-128 INT4, group-of-16 NVFP4."""
KV_BYTES = {"bf16": 2.0, "fp8": 1.0, "int8": 1.0, "fp4": 0.5625}
FOUR_BIT = ("int4", "fp4")
ACTIVATION_BYTES = 2.0
HEAD_BYTES = 2.0
"""Bytes of one weight of the output head, which engines leave at BF16."""
GPU_DOMAIN_LINK_BYTES_PER_S = 50e9
"""One way per chip between domains: one 400 Gb/s adapter a chip, the common build."""


@dataclass(frozen=True, slots=True)
class Parallelism:
    """How a replica is spread: tensor, pipeline and expert ranks, and data-parallel attention groups."""

    tensor: int = 1
    pipeline: int = 1
    expert: int = 1
    data: int = 1

    @property
    def chips(self) -> int:
        """Chips of one replica."""
        return self.tensor * self.pipeline * self.data

    @property
    def stage_chips(self) -> int:
        """Chips of one pipeline stage; the experts of a layer are spread over all of them."""
        return self.tensor * self.data

    def check(self) -> None:
        """Refuse counts below one, and expert ranks that do not divide a stage.

        Raises:
            InfeasibleError: says which.
        """
        for name in ("tensor", "pipeline", "expert", "data"):
            if getattr(self, name) < 1:
                raise InfeasibleError(f"{name} parallelism is {getattr(self, name)}; it starts at 1")
        if self.stage_chips % self.expert:
            raise InfeasibleError(
                f"{self.expert} expert ranks do not divide the {self.stage_chips} chips of a stage (tensor x data)"
            )


@dataclass(frozen=True, slots=True)
class Demand:
    """What one rank is asked for, before any chip: bytes, operations and messages; per stage group, all layers."""

    attention_groups: float
    microbatches: float
    weight_bytes: float
    flop_per_token: float
    expert_bytes: float
    expert_flop_per_token: float
    expert_log_miss: float
    expert_ranks: float
    kv_bytes_per_token: float
    kv_flop_per_token: float
    window_tokens: float
    window_kv_bytes_per_token: float
    window_flop_per_token: float
    pair_flop: float
    window_pair_flop: float
    state_bytes: float
    collectives: float
    link_bytes_per_token: float
    launches: float


@dataclass(frozen=True, slots=True)
class Peaks:
    """A chip's data-sheet rates at the precisions in use: bytes/s and operations/s."""

    bandwidth: float
    compute: float
    expert_compute: float
    attention_compute: float
    link: float


@dataclass(frozen=True, slots=True)
class StepTerms:
    """The doubles of ``StepModel`` in ``csrc/steptime.h``, in its order; seconds and counts."""

    attention_groups: float
    microbatches: float
    weight_seconds: float
    gemm_seconds_per_token: float
    expert_weight_seconds: float
    expert_log_miss: float
    expert_seconds_per_token: float
    expert_imbalance: float
    kv_seconds_per_token: float
    kv_compute_seconds_per_token: float
    window_tokens: float
    window_kv_seconds_per_token: float
    window_compute_seconds_per_token: float
    pair_seconds: float
    window_pair_seconds: float
    state_seconds_per_sequence: float
    link_seconds: float
    link_seconds_per_token: float
    host_seconds: float
    host_seconds_per_sequence: float
    draft_seconds: float
    draft_seconds_per_token: float


@dataclass(frozen=True, slots=True)
class StepLoad:
    """The work of one step of a replica; members as in ``csrc/steptime.h``."""

    sequences: float
    decode_sequences: float = 0.0
    decode_kv_tokens: float = 0.0
    draft_tokens: float = 0.0
    prefill_tokens: float = 0.0
    prefill_attention_pairs: float = 0.0


TERM_NAMES = tuple(field.name for field in fields(StepTerms))


def common_precision(model: Model, precision: str) -> str:
    """Return the precision of the weights every token meets: mixtures at four bits quantise their experts alone."""
    if model.experts is not None and precision in FOUR_BIT:
        return "fp8" if model.native_precision == "fp8" else "bf16"
    return precision


def compute_precision(hardware: Hardware, precision: str) -> str:
    """Return the precision that products run at: four-bit weights are widened where the chip has no such rate.

    Raises:
        InfeasibleError: the chip lacks the precision.
    """
    if hardware.compute.rate(precision) is not None:
        return precision
    if precision in FOUR_BIT:
        return "bf16" if hardware.compute.rate("bf16") is not None else "fp8"
    has = ", ".join(hardware.compute.rates)
    raise InfeasibleError(f"{hardware.id} has no {precision} arithmetic at speed; it has {has}")


def demand(model: Model, parallelism: Parallelism, precision: str, kv_precision: str) -> Demand:
    """Return what a model asks of one rank.

    Args:
        model: its profile.
        parallelism: how the replica is spread.
        precision: of the weights, a key of `WEIGHT_BYTES`.
        kv_precision: of the KV cache, a key of `KV_BYTES`.
    """
    tensor, stage = parallelism.tensor, parallelism.stage_chips
    attention, experts = model.attention, model.experts
    head = float(model.vocabulary * model.hidden)
    body = max(model.common_parameters - head, 0.05 * model.common_parameters)
    common_bytes = WEIGHT_BYTES[common_precision(model, precision)]
    kv_share = KV_BYTES[kv_precision] / min(tensor, 1 if model.family == "mla" else attention.kv_heads)
    full_pairs, window_pairs, decode_full, decode_window = _attention_flop(model, tensor)
    full_kv, window_kv, window = (
        attention.full_kv_elements_per_token,
        attention.window_kv_elements_per_token,
        attention.window_tokens,
    )
    if attention.top_k_tokens:
        # an indexer reads every key, attention itself only the chosen ones: full layers act as windowed ones
        full_kv, window_kv, window = attention.indexer_elements_per_token, full_kv, attention.top_k_tokens
        index_share = 0.05
        decode_full, decode_window = decode_full * index_share, decode_full
        full_pairs, window_pairs = full_pairs * index_share, full_pairs
    collectives, link_bytes = _messages(model, parallelism)
    return Demand(
        attention_groups=float(parallelism.data),
        microbatches=float(parallelism.pipeline),
        weight_bytes=(body * common_bytes + head * HEAD_BYTES) / tensor,
        flop_per_token=2.0 * body / tensor,
        expert_bytes=experts.parameters * WEIGHT_BYTES[precision] / stage if experts else 0.0,
        expert_flop_per_token=2.0 * experts.parameters_per_token / stage if experts else 0.0,
        expert_log_miss=_log_miss(experts) if experts else 0.0,
        expert_ranks=float(parallelism.expert),
        kv_bytes_per_token=full_kv * kv_share,
        kv_flop_per_token=decode_full,
        window_tokens=float(window),
        window_kv_bytes_per_token=window_kv * kv_share,
        window_flop_per_token=decode_window,
        pair_flop=full_pairs,
        window_pair_flop=window_pairs,
        state_bytes=2.0 * attention.state_elements_per_sequence * ACTIVATION_BYTES / tensor,
        collectives=collectives,
        link_bytes_per_token=link_bytes,
        launches=_launches(model),
    )


def _log_miss(experts: Experts) -> float:
    """Return log(1 - chance that a token goes to a given expert)."""
    return math.log1p(-experts.active / experts.total) if experts.active < experts.total else -50.0


def _attention_flop(model: Model, tensor: int) -> tuple[float, float, float, float]:
    """Return operations per (query, key) pair: prefill full and windowed, decode full and windowed layers.

    Latent attention multiplies through the latent when decoding (2 x 512 + 64 a head), and expands it in prefill
    (192 + 128 a head). Source: DeepSeek-V2, arXiv 2405.04434.
    """
    attention = model.attention
    heads = attention.heads / tensor
    if attention.kind == "mla":
        decode = 2.0 * (2 * attention.latent_dim + attention.rope_dim) * heads
        prefill = 2.0 * (2 * attention.head_dim + attention.rope_dim) * heads
    else:
        decode = prefill = 4.0 * attention.head_dim * heads
    if attention.kind == "compressed_sparse":
        # a query meets one compressed entry for many tokens: as many operations as there are stored elements
        compression = attention.full_kv_elements_per_token / (attention.head_dim * model.layers)
        decode, prefill = decode * compression, prefill * compression
    return (
        prefill * attention.full_layers,
        prefill * attention.window_layers,
        decode * attention.full_layers,
        decode * attention.window_layers,
    )


def _launches(model: Model) -> float:
    """Return the kernel launches of a step in units of a plain dense layer's.

    A mixture's layer routes, permutes and runs grouped products besides; latent and linear attention have more small
    kernels than grouped-query attention. The weights 1, 1.5 and 0.5 are counts of ours from engines' layer code.
    """
    attention, experts = model.attention, model.experts
    unusual = model.layers if model.family == "mla" else attention.linear_layers
    routed = experts.layers if experts else 0
    return model.layers + 0.5 * routed * 1.5 + 0.5 * unusual


def _messages(model: Model, parallelism: Parallelism) -> tuple[float, float]:
    """Return (collectives in a row, bytes sent per token of an attention group) of one step.

    Tensor ranks reduce twice a layer; data-parallel attention groups send each token to its experts and back.
    """
    tensor, data = parallelism.tensor, parallelism.data
    width = model.hidden * ACTIVATION_BYTES
    hops = sent = 0.0
    if tensor > 1:
        reduces = model.layers * (1.0 if data > 1 else 2.0)
        hops += reduces * (1.0 + 0.35 * math.log2(tensor / 2))
        sent += reduces * 2.0 * (tensor - 1) / tensor * width
    if data > 1 and model.experts is not None:
        ranks = parallelism.stage_chips
        reached = min(model.experts.active, ranks) * (ranks - 1) / ranks
        hops += 2.0 * model.experts.layers * (1.0 + 0.35 * math.log2(max(ranks / 2, 1)))
        sent += 1.5 * model.experts.layers * reached * width / tensor
    hops += 2.0 * (parallelism.pipeline - 1)
    sent += (parallelism.pipeline - 1) * width
    return hops, sent


def peaks(hardware: Hardware, model: Model, parallelism: Parallelism, precision: str) -> Peaks:
    """Return a chip's rates at the precisions in use.

    Raises:
        InfeasibleError: the chip lacks the precision, or several chips have no link.
    """
    rates = hardware.compute.rates
    common = compute_precision(hardware, common_precision(model, precision))
    expert = compute_precision(hardware, precision)
    if parallelism.chips > 1 and hardware.link is None and hardware.deployment is None:
        raise InfeasibleError(f"{hardware.id} has no link between chips in its profile; run it on one chip")
    # a machine sold whole hides its fabric: what it costs is in the time a layer takes
    link = hardware.link.bandwidth_bytes_per_s if hardware.link else float("inf")
    if hardware.link and parallelism.stage_chips > hardware.link.domain_chips:
        link = min(link, GPU_DOMAIN_LINK_BYTES_PER_S)
    return Peaks(
        bandwidth=hardware.memory.bandwidth_bytes_per_s,
        compute=rates[common],
        expert_compute=rates[expert],
        attention_compute=rates.get("bf16") or rates[common],
        link=link,
    )


def terms_of(demand: Demand, peaks: Peaks, constants: Constants) -> StepTerms:
    """Return the seconds and counts that a step is added up from; members may be arrays, one element a deployment."""
    bandwidth = peaks.bandwidth * constants.kv_bandwidth_efficiency
    attention = peaks.attention_compute * constants.attention_compute_efficiency
    return StepTerms(
        attention_groups=demand.attention_groups,
        microbatches=demand.microbatches,
        weight_seconds=demand.weight_bytes / (peaks.bandwidth * constants.weight_bandwidth_efficiency),
        gemm_seconds_per_token=demand.flop_per_token / (peaks.compute * constants.compute_efficiency),
        expert_weight_seconds=demand.expert_bytes / (peaks.bandwidth * constants.expert_bandwidth_efficiency),
        expert_log_miss=demand.expert_log_miss,
        expert_seconds_per_token=demand.expert_flop_per_token
        / (peaks.expert_compute * constants.expert_compute_efficiency),
        expert_imbalance=constants.expert_imbalance * (demand.expert_ranks > 1),
        kv_seconds_per_token=demand.kv_bytes_per_token / bandwidth,
        kv_compute_seconds_per_token=demand.kv_flop_per_token / attention,
        window_tokens=demand.window_tokens,
        window_kv_seconds_per_token=demand.window_kv_bytes_per_token / bandwidth,
        window_compute_seconds_per_token=demand.window_flop_per_token / attention,
        pair_seconds=demand.pair_flop / attention,
        window_pair_seconds=demand.window_pair_flop / attention,
        state_seconds_per_sequence=demand.state_bytes / bandwidth,
        link_seconds=demand.collectives * constants.collective_us * 1e-6,
        link_seconds_per_token=demand.link_bytes_per_token / (peaks.link * constants.link_efficiency),
        host_seconds=constants.host_ms_per_step * 1e-3 + demand.launches * constants.host_us_per_layer * 1e-6,
        host_seconds_per_sequence=constants.host_us_per_sequence * 1e-6,
        draft_seconds=0.0,
        draft_seconds_per_token=0.0,
    )


def seconds_of(terms: StepTerms, load: StepLoad) -> float:
    """Return the seconds of one step; the reference of ``step_seconds`` in ``csrc/steptime.c``."""
    queries = load.decode_sequences + load.draft_tokens
    tokens = queries + load.prefill_tokens
    if tokens <= 0.0:
        return 0.0
    share = 1.0 / terms.microbatches
    rank = share / terms.attention_groups
    seconds = terms.weight_seconds + tokens * rank * terms.gemm_seconds_per_token
    if terms.expert_weight_seconds > 0.0 or terms.expert_seconds_per_token > 0.0:
        coverage = -math.expm1(tokens * share * terms.expert_log_miss)
        busiest = 1.0 + terms.expert_imbalance * coverage
        seconds += coverage * terms.expert_weight_seconds
        seconds += tokens * share * terms.expert_seconds_per_token * busiest
    seconds += _attention_seconds(terms, load, rank, queries)
    seconds += load.sequences * rank * terms.state_seconds_per_sequence
    seconds += terms.link_seconds + tokens * rank * terms.link_seconds_per_token
    seconds += terms.host_seconds + load.sequences * rank * terms.host_seconds_per_sequence
    if load.draft_tokens > 0.0:
        seconds += terms.draft_seconds + load.draft_tokens * rank * terms.draft_seconds_per_token
    return seconds


def _attention_seconds(terms: StepTerms, load: StepLoad, rank: float, queries: float) -> float:
    seconds = load.prefill_attention_pairs * rank * terms.pair_seconds
    if load.decode_sequences > 0.0:
        per_sequence = queries / load.decode_sequences
        kv_tokens = load.decode_kv_tokens * rank
        seconds += kv_tokens * max(terms.kv_seconds_per_token, per_sequence * terms.kv_compute_seconds_per_token)
        if terms.window_tokens > 0.0:
            seen = min(kv_tokens, load.decode_sequences * rank * terms.window_tokens)
            seconds += seen * max(
                terms.window_kv_seconds_per_token, per_sequence * terms.window_compute_seconds_per_token
            )
    if terms.window_tokens > 0.0:
        pairs = min(load.prefill_attention_pairs, load.prefill_tokens * terms.window_tokens)
        seconds += pairs * rank * terms.window_pair_seconds
    return seconds
