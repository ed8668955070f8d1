"""TTFT and TPOT of many closed loops at once: C users, each sending its next request when the last one is answered.

A benchmark's rows are such loops. The state is stationary, so no events are needed: one request's cycle is its wait,
its prompt, and its decode steps, and every other user's prompt falls into that cycle once. The C core replays recorded
traffic; this closed form answers a grid of points and is what constants are fitted through, a few hundred times a fit.

Members of `StepTerms` and `Loops` are float64 arrays here, one element a point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.stepterms import StepTerms

Floats = NDArray[np.float64]
Join = Callable[[Floats, Floats, Floats], Floats]
"""What one step takes of (seconds of reading weights, seconds of computing with them, its tokens)."""

ROUNDS = 8
"""Of the fixed point between the share of time spent decoding and the step time; it halves the error each round."""
IN_FLIGHT_SHARE = 0.6
"""Of its output that a sequence holds in KV memory on average where admission is incremental, with slack."""


@dataclass(frozen=True, slots=True)
class Loops:
    """What the points ask for. Counts are of one replica; times are seconds."""

    users: Floats
    input_tokens: Floats
    output_tokens: Floats
    kv_capacity_tokens: Floats
    max_sequences: Floats
    chunk_tokens: Floats
    prefill_first: NDArray[np.bool_]
    reserve_all: NDArray[np.bool_]
    frontend_seconds: Floats
    arrival_burst: Floats


@dataclass(frozen=True, slots=True)
class Latencies:
    """Means over requests; seconds. ``running`` sequences hold KV memory at a time; other users wait.

    ``cycle_seconds`` is one request's time on the machine, without queue and front end: a saturated replica completes
    ``running`` requests in each.
    """

    ttft_seconds: Floats
    tpot_seconds: Floats
    cycle_seconds: Floats
    running: Floats
    waiting: NDArray[np.bool_]


def stack(terms: Sequence[StepTerms]) -> StepTerms:
    """Return one `StepTerms` whose members are arrays over `terms`."""
    return StepTerms(*cast("Any", np.array([astuple(each) for each in terms], dtype=np.float64).T))


def add(reading_s: Floats, computing_s: Floats, tokens: Floats) -> Floats:
    """Return reading and computing one after the other, as engines' steps behave; `tools/forms.py` tries others."""
    return reading_s + computing_s


def steps_seconds(
    terms: StepTerms, decodes: Floats, kv_tokens: Floats, prefill: Floats, pairs: Floats, join: Join = add
) -> Floats:
    """Return the seconds of one step at each point; the arithmetic of `stepterms.seconds_of`, over arrays.

    Args:
        terms: members are arrays.
        decodes: decoding sequences.
        kv_tokens: sum of their context lengths.
        prefill: prompt tokens of the step.
        pairs: (query, key) pairs of these.
        join: how reading weights and computing with them make one time.
    """
    tokens = decodes + prefill
    sequences = decodes + (prefill > 0)
    share = 1.0 / terms.microbatches
    rank = share / terms.attention_groups
    seconds = join(cast("Floats", terms.weight_seconds), tokens * rank * terms.gemm_seconds_per_token, tokens)
    coverage = -np.expm1(tokens * share * terms.expert_log_miss)
    busiest = 1.0 + terms.expert_imbalance * coverage
    seconds = seconds + join(
        coverage * terms.expert_weight_seconds, tokens * share * terms.expert_seconds_per_token * busiest, tokens
    )
    seconds = seconds + pairs * rank * terms.pair_seconds
    seconds = seconds + kv_tokens * rank * np.maximum(terms.kv_seconds_per_token, terms.kv_compute_seconds_per_token)
    seen = np.minimum(kv_tokens * rank, decodes * rank * terms.window_tokens)
    windowed = seen * np.maximum(terms.window_kv_seconds_per_token, terms.window_compute_seconds_per_token)
    windowed = windowed + np.minimum(pairs, prefill * terms.window_tokens) * rank * terms.window_pair_seconds
    seconds = seconds + np.where(np.asarray(terms.window_tokens) > 0, windowed, 0.0)
    seconds = seconds + sequences * rank * (terms.state_seconds_per_sequence + terms.host_seconds_per_sequence)
    total = seconds + terms.link_seconds + tokens * rank * terms.link_seconds_per_token + terms.host_seconds
    return cast("Floats", total)


def settle(terms: StepTerms, loops: Loops, join: Join = add) -> Latencies:
    """Return the stationary TTFT and TPOT of every point.

    With P the time one prompt adds to the others' steps and d a decode-only step, a request of n tokens out decodes for
    ``n d + (users - 1) P``. Its TTFT is the front end, half a step, its own prompt's steps, and the prompts of the
    ``arrival_burst`` share of the other users that stand before it.
    """
    held = loops.input_tokens + loops.output_tokens * np.where(loops.reserve_all, 1.0, IN_FLIGHT_SHARE)
    running = np.minimum(np.minimum(loops.users, loops.max_sequences), np.maximum(loops.kv_capacity_tokens / held, 1.0))
    others = np.maximum(running - 1.0, 0.0)
    context = loops.input_tokens + loops.output_tokens / 2.0
    chunks = np.ceil(loops.input_tokens / loops.chunk_tokens)
    chunk, pairs = loops.input_tokens / chunks, loops.input_tokens**2 / 2.0 / chunks
    nothing = np.zeros_like(running)
    step = partial(steps_seconds, terms, join=join)
    alone = chunks * step(nothing, nothing, chunk, pairs)
    decoding = running
    for _ in range(ROUNDS):
        kv_tokens = decoding * context
        decode = step(decoding, kv_tokens, nothing, nothing)
        beside = chunks * step(decoding, kv_tokens, chunk, pairs)
        added = np.where(loops.prefill_first, alone, beside - chunks * decode)
        own = np.where(loops.prefill_first, alone, beside)
        decode_total = loops.output_tokens * decode + others * added
        first = loops.frontend_seconds + own + 0.5 * decode
        decoding = running * decode_total / (decode_total + first)
    ttft = first + loops.arrival_burst * others * added
    waiting = loops.users > running * 1.0001
    ttft = ttft + np.where(waiting, (loops.users - running) / running * (decode_total + first), 0.0)
    return Latencies(ttft, decode_total / loops.output_tokens, decode_total + own, running, waiting)
