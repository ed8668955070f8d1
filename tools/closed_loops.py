"""The engine in the closed loops of published benchmarks, beside the closed form that constants are fitted through."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from fitting import Data, Estimate, terms_and_loops
from ground_truth import LOOP
from page import Page

from inferometer.analyzer.closedloop import Loops, settle
from inferometer.analyzer.replay_engine import Fleet, Rules, simulate
from inferometer.analyzer.stepterms import TERM_NAMES
from inferometer.analyzer.workload import Workload, made_up_workload
from inferometer.analyzer.workload_edges import EdgeList

ROUNDS = 10
"""Requests of a user: published benchmarks send ten times as many as they have users."""
SHORTEST = 0.8
"""Of the longest request, of which benchmarks draw lengths uniformly from this up."""
MOST_USERS = 256
STRIDE = 3


@dataclass(frozen=True)
class Loop:
    """Log ratios of one row's said to measured TTFT and TPOT, by each of `WAYS`."""

    engine: str
    ttft: dict[str, float]
    tpot: dict[str, float]


WAYS = ("closed form", "engine", "engine, equal lengths")


def compare_loops(data: Data, estimate: Estimate) -> list[Loop]:
    """Return how every third dense loop is said, with constants that were fitted to it, by each way."""
    few = data.is_kind(LOOP) & (data.array("family") == "dense") & (data.loops.users <= MOST_USERS)
    rows = np.where(few)[0][::STRIDE]
    terms, loops = terms_and_loops(data, estimate, rows)
    closed = settle(terms, loops)
    found = []
    for place, row in enumerate(rows):
        each = data.observations[row]
        model = np.array([float(np.broadcast_to(getattr(terms, name), len(rows))[place]) for name in TERM_NAMES])
        fleet = Fleet(_rules(loops, place), model, entry_s=float(loops.frontend_seconds[place]))
        said = {"closed form": (float(closed.ttft_seconds[place]), float(closed.tpot_seconds[place]))}
        for way, shortest in (("engine", SHORTEST), ("engine, equal lengths", 1.0)):
            said[way] = _served(_requests(loops, place, shortest), fleet)
        found.append(
            Loop(
                each.engine,
                {way: float(np.log(ttft / each.ttft_s)) for way, (ttft, _) in said.items()},
                {way: float(np.log(tpot / each.tpot_s)) for way, (_, tpot) in said.items()},
            )
        )
    return found


def _rules(loops: Loops, place: int) -> Rules:
    step_tokens = float(loops.chunk_tokens[place])
    return Rules(
        max_sequences=float(loops.max_sequences[place]),
        max_step_tokens=step_tokens,
        max_chunk_tokens=step_tokens,
        prefill_first=float(loops.prefill_first[place]),
        reserve_share=float(loops.reserve_all[place]),
        kv_tokens=float(loops.kv_capacity_tokens[place]),
        window_tokens=1e9,
        slack_tokens=16,
    )


def _requests(loops: Loops, place: int, shortest: float) -> Workload:
    """Return users that all begin at once, each sending its next request when the last one is answered."""
    users = max(1, round(float(loops.users[place])))
    draw = np.random.default_rng(1)

    def lengths(mean: float) -> np.ndarray:
        return np.maximum(1, np.rint(mean * draw.uniform(shortest, 1.0, users * ROUNDS) / ((1 + shortest) / 2)))

    calls = np.arange(users * ROUNDS)
    source = calls[calls % ROUNDS < ROUNDS - 1].tolist()
    edges = EdgeList.of(len(calls), source, [call + 1 for call in source], [0.0] * len(source), [False] * len(source))
    alone = made_up_workload(
        np.zeros(len(calls)), lengths(float(loops.input_tokens[place])), lengths(float(loops.output_tokens[place]))
    )
    return replace(
        alone,
        session_first=np.arange(users + 1, dtype=np.int64) * ROUNDS,
        session_start_s=np.zeros(users),
        edges=edges,
        run=(calls // ROUNDS).astype(np.int32),
    )


def _served(requests: Workload, fleet: Fleet) -> tuple[float, float]:
    """Return mean TTFT and TPOT, NaN where nothing was served."""
    answer = simulate(requests, fleet)
    served = answer.served
    if not served.any():
        return float("nan"), float("nan")
    ttft = (answer.first_s - answer.ready_s)[served]
    tpot = (answer.end_s - answer.first_s)[served] / np.maximum(requests.output_tokens[served] - 1, 1)
    return float(ttft.mean()), float(tpot.mean())


def add_loops(page: Page, loops: list[Loop]) -> None:
    """Set the ways side by side, by engine."""
    page.add(
        "",
        "## The engine beside the closed form",
        "",
        f"{len(loops)} dense loops of up to {MOST_USERS} users, with the shipped constants, which were fitted to them:",
        "this compares two ways of solving one model. The engine is driven as published benchmarks drive a server: all",
        f"users begin at once and send {ROUNDS} requests each, lengths drawn from {SHORTEST:.0%} of the longest up.",
        "TTFT hangs on how users stand to each other: with equal lengths they stay in step, and every prompt waits for",
        "the others' in every round. The closed form says where between these a benchmark is by one fitted number,",
        "the share of the other users whose prompts stand before one's own (`arrival_burst`). The engine has no such",
        "number, for in a replay the arrivals are those of the calls. Benchmarks of vLLM and TensorRT-LLM look like",
        "drawn lengths; the dense ones of SGLang are of two settings, whose users stand and queue in step.",
    )
    page.table("engine", "way", "loops", "TTFT: median", "TTFT: bias", "TPOT: median", "TPOT: bias")
    for engine in sorted({each.engine for each in loops}):
        own = [each for each in loops if each.engine == engine]
        for way in WAYS:
            ttft, tpot = (np.array([getattr(each, name)[way] for each in own]) for name in ("ttft", "tpot"))
            page.row(engine, way, str(len(own)), *_error_and_bias(ttft), *_error_and_bias(tpot))


def _error_and_bias(ratios: np.ndarray) -> tuple[str, str]:
    return f"{np.nanmedian(np.abs(np.expm1(ratios))):.1%}", f"{np.expm1(np.nanmedian(ratios)):+.0%}"
