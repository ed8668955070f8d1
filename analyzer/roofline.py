"""The roofline: what machines can do per byte they read, and what a workload and its training ask of them.

A machine's speed is the lesser of its arithmetic and its bandwidth times the FLOP done per byte read; left of the ridge
where they meet memory is what is waited for. The workload's points are averages of a replay: prefill of a call's
uncached prompt, one decode step at several batches.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from inferometer.analyzer.ledger import Ledger
from inferometer.analyzer.replay import ReplayResult
from inferometer.analyzer.stepterms import Demand, Parallelism, compute_precision, demand
from inferometer.profiles.hardware import Hardware, load_hardware
from inferometer.profiles.training import load_training
from inferometer.schema.errors import InfeasibleError, UnknownNameError

BATCHES = (1, 8, 64)


@dataclass(slots=True, frozen=True)
class Work:
    """FLOP and bytes of one piece of work over a whole replica."""

    flop: float
    bytes: float

    @property
    def flop_per_byte(self) -> float:
        """Arithmetic intensity."""
        return self.flop / self.bytes


def decode_step(asked: Demand, batch: float, context_tokens: float) -> Work:
    """Return one decode step of so many sequences: weights read once, each sequence's keys and values."""
    seen = min(context_tokens, asked.window_tokens)
    each = asked.flop_per_token + asked.expert_flop_per_token
    each += context_tokens * asked.kv_flop_per_token + seen * asked.window_flop_per_token
    cached = context_tokens * asked.kv_bytes_per_token + seen * asked.window_kv_bytes_per_token
    return Work(batch * each, _weights(asked, batch) + batch * cached)


def prefill(asked: Demand, tokens: float, pairs: float, step_tokens: float) -> Work:
    """Return the prefill of a prompt: weights read once a step, keys and values written once.

    Args:
        asked: of the whole model.
        tokens: to compute, those in a cache left out.
        pairs: of a query and a key it attends to.
        step_tokens: how many tokens one step takes.
    """
    seen = min(pairs, tokens * asked.window_tokens)
    flop = tokens * (asked.flop_per_token + asked.expert_flop_per_token)
    flop += pairs * asked.pair_flop + seen * asked.window_pair_flop
    steps = max(1.0, tokens / step_tokens)
    written = tokens * (asked.kv_bytes_per_token + asked.window_kv_bytes_per_token)
    return Work(flop, steps * _weights(asked, tokens / steps) + written)


def _weights(asked: Demand, tokens: float) -> float:
    """Return the bytes of weights that a step reads; of experts, those that its tokens are expected to go to."""
    return asked.weight_bytes - asked.expert_bytes * math.expm1(asked.expert_log_miss * tokens)


def roofline(result: ReplayResult, hardware: Iterable[str], ledger: Ledger) -> dict[str, Any] | None:
    """Return the ``roofline`` of the audit document; None where the replay served no call.

    Args:
        result: the workload as replayed.
        hardware: machines to draw; those that lack the precision are left out.
        ledger: its training runs, with the speed that each of their chips reached where FLOP and hours are stated.
    """
    simulation, model = result.simulation, result.deployment.step_model
    served, decoded = int(simulation.served.sum()), simulation.total("decode_tokens")
    if not served or not decoded:
        return None
    asked = demand(model.model, Parallelism(), model.precision, model.kv_precision)
    context = simulation.total("decode_kv_tokens") / decoded
    tokens, pairs = (simulation.total(name) / served for name in ("prefill_tokens", "prefill_pairs"))
    points = [_point(f"decode, {batch} at once", "decode", decode_step(asked, batch, context)) for batch in BATCHES]
    if tokens:
        step_tokens = result.deployment.fleet.rules.max_chunk_tokens
        points.append(_point("prefill", "prefill", prefill(asked, tokens, pairs, step_tokens)))
    return {
        "model": model.model.id,
        "precision": model.precision,
        "context_tokens": context,
        "prefill_tokens_per_call": tokens,
        "machines": [found for name in hardware if (found := _machine(load_hardware(name), model.precision))],
        "points": points,
        "training": [*_own_runs(ledger), *_published_runs(ledger)],
    }


def _point(name: str, kind: str, work: Work) -> dict[str, Any]:
    return {"name": name, "kind": kind, "flop_per_byte": work.flop_per_byte}


def _machine(hardware: Hardware, precision: str) -> dict[str, Any] | None:
    try:
        rate = hardware.compute.rates[compute_precision(hardware, precision)]
    except InfeasibleError:
        return None
    bandwidth = hardware.memory.bandwidth_bytes_per_s
    return {
        "id": hardware.id,
        "name": hardware.name,
        "flop_per_s": rate,
        "bytes_per_s": bandwidth,
        "ridge_flop_per_byte": rate / bandwidth,
    }


def _own_runs(ledger: Ledger) -> Iterable[dict[str, Any]]:
    for run in ledger.training.run if ledger.training else ():
        if run.training_flop and run.hours:
            yield {"name": run.name, "flop_per_s": float(run.training_flop / (run.hours * 3600))}


def _published_runs(ledger: Ledger) -> Iterable[dict[str, Any]]:
    for entry in ledger.training.published if ledger.training else ():
        try:
            stages = load_training(entry.model).stages
        except UnknownNameError:
            continue
        known = [(stage.flop, stage.chip_hours) for stage in stages if stage.flop and stage.chip_hours]
        if known:
            flop, hours = (sum(values) for values in zip(*known, strict=True))
            yield {"name": entry.model, "flop_per_s": flop / (hours * 3600)}
