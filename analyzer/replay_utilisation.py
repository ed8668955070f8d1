"""How much of a fleet's arithmetic and memory bandwidth a replay used while it worked."""

from __future__ import annotations

from dataclasses import dataclass

from inferometer.analyzer.replay_engine import Simulation
from inferometer.analyzer.stepterms import demand, peaks
from inferometer.analyzer.steptime import StepModel


@dataclass(frozen=True, slots=True)
class Utilisation:
    """Shares of working time; None where nothing worked.

    ``mfu`` (model FLOP utilisation): operations the model needs over the peak at its precisions. ``mbu`` (model
    bandwidth utilisation): weights, touched experts and keys and values read over the memory's peak. Drafted tokens
    count for neither: they are not what was asked for.
    """

    mfu: float | None
    mbu: float | None


def utilisation(simulation: Simulation, model: StepModel) -> Utilisation:
    """Return the utilisation of a fleet's chips over the time that its replicas worked."""
    busy_s = simulation.total("busy_s")
    if busy_s <= 0:
        return Utilisation(None, None)
    asked = demand(model.model, model.parallelism, model.precision, model.kv_precision)
    peak = peaks(model.hardware, model.model, model.parallelism, model.precision)
    stages, ranks = asked.microbatches, asked.microbatches * asked.attention_groups
    tokens = simulation.total("prefill_tokens") + simulation.total("decode_tokens")
    context, sequences = simulation.total("decode_kv_tokens"), simulation.total("decode_tokens")
    pairs, computed = simulation.total("prefill_pairs"), simulation.total("prefill_tokens")
    seen = min(context, sequences * asked.window_tokens)
    windowed = min(pairs, computed * asked.window_tokens)
    attention_flop = (
        context * asked.kv_flop_per_token
        + seen * asked.window_flop_per_token
        + pairs * asked.pair_flop
        + windowed * asked.window_pair_flop
    ) / ranks
    compute_s = (
        tokens / ranks * asked.flop_per_token / peak.compute
        + tokens / stages * asked.expert_flop_per_token / peak.expert_compute
        + attention_flop / peak.attention_compute
    )
    read_bytes = (
        simulation.total("steps") * asked.weight_bytes
        + simulation.total("expert_coverage") * asked.expert_bytes
        + (context * asked.kv_bytes_per_token + seen * asked.window_kv_bytes_per_token) / ranks
    )
    return Utilisation(compute_s / busy_s, read_bytes / (peak.bandwidth * busy_s))
