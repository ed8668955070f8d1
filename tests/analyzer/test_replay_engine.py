"""The C engine against the plain one, and the laws that no fleet may break."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferometer.analyzer import _replay
from inferometer.analyzer.replay_engine import (
    OVER_CONTEXT,
    OVER_MEMORY,
    PROGRESS_PARTS,
    ROUTERS,
    SERVED,
    Background,
    Fleet,
    Rules,
    simulate,
)
from inferometer.analyzer.replay_reference import Reference
from inferometer.analyzer.stepterms import StepTerms, seconds_of
from inferometer.analyzer.workload import Recorded, Workload, made_up_workload
from inferometer.analyzer.workload_edges import EdgeList
from inferometer.analyzer.workload_prefix import forest_of

# every member a power of two, so that sums are exact whatever their order
TERMS = StepTerms(
    **{
        **dict.fromkeys(StepTerms.__dataclass_fields__, 0.0),
        "attention_groups": 1.0,
        "microbatches": 1.0,
        "kv_seconds_per_token": 2.0**-18,
        "pair_seconds": 2.0**-24,
        "link_seconds_per_token": 2.0**-12,
        "host_seconds": 2.0**-6,
        "host_seconds_per_sequence": 2.0**-14,
    }
)
STEP_MODEL = np.array([getattr(TERMS, name) for name in StepTerms.__dataclass_fields__])
BLOCK = 16


def chains_of(stems: list[tuple[int, int]], inputs: list[int]) -> list[np.ndarray[Any, Any]]:
    """Return chains that share: call i takes `keep` blocks of call `parent` before its own."""
    chains: list[list[int]] = []
    for call, ((parent, keep), tokens) in enumerate(zip(stems, inputs, strict=True)):
        stem = chains[parent % call][:keep] if call else []
        blocks = tokens // BLOCK
        own = [hash((call, place)) % 2**63 for place in range(max(0, blocks - len(stem)))]
        chains.append((stem + own)[:blocks])
    return [np.array(chain, np.uint64) for chain in chains]


@st.composite
def workloads(draw: st.DrawFn) -> Workload:
    calls = draw(st.integers(1, 24))
    inputs = draw(st.lists(st.integers(0, 400), min_size=calls, max_size=calls))
    outputs = draw(st.lists(st.integers(0, 60), min_size=calls, max_size=calls))
    stems = draw(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 20)), min_size=calls, max_size=calls))
    cuts = sorted({0, calls, *draw(st.lists(st.integers(0, calls), max_size=6))})
    edges: list[tuple[int, int, float]] = []
    for begin, end in pairwise(cuts):
        for call in range(begin + 1, end):
            parents = draw(st.lists(st.integers(begin, call - 1), max_size=2, unique=True))
            edges += [(parent, call, draw(st.integers(0, 8)) / 4) for parent in parents]
            if parents and draw(st.booleans()):  # its prompt goes on from the first one's prompt and output
                inputs[call] = max(0, inputs[parents[0]] + outputs[parents[0]] + draw(st.integers(-1, 40)))
                stems[call] = (parents[0], 1000)
    forest, _ = forest_of(chains_of(stems, inputs), BLOCK)
    starts = [float("nan") if draw(st.booleans()) else draw(st.integers(0, 16)) / 4 for _ in range(len(cuts) - 1)]
    return Workload(
        input_tokens=np.array(inputs, np.int32),
        output_tokens=np.array(outputs, np.int32),
        priority=np.array(draw(st.lists(st.integers(0, 2), min_size=calls, max_size=calls)), np.uint8),
        release_s=np.zeros(calls),
        session_first=np.array(cuts, np.int64),
        session_start_s=np.array(starts),
        edges=EdgeList.of(
            calls, [e[0] for e in edges], [e[1] for e in edges], [e[2] for e in edges], [False] * len(edges)
        ),
        prefixes=forest,
        run=np.zeros(calls, np.int32),
        start_s=np.zeros(calls),
        recorded=Recorded(np.full(calls, np.nan), np.full(calls, np.nan)),
        warnings=Counter(),
    )


@st.composite
def rules(draw: st.DrawFn) -> Rules:
    drafts = draw(st.integers(0, 3))
    return Rules(
        max_sequences=draw(st.integers(1, 8)),
        max_step_tokens=draw(st.sampled_from((8, 32, 100, 1000))),
        max_chunk_tokens=draw(st.sampled_from((7, 64, 1000))),
        prefill_first=float(draw(st.booleans())),
        reserve_share=draw(st.sampled_from((0.0, 0.5, 1.0))),
        kv_tokens=draw(st.sampled_from((200, 400, 700, 1500, 10_000))),
        window_tokens=draw(st.sampled_from((300, 1000))),
        slack_tokens=draw(st.sampled_from((1, 16))),
        progress=draw(st.integers(PROGRESS_PARTS, PROGRESS_PARTS * (drafts + 1))),
        draft_tokens=drafts,
    )


@settings(max_examples=200, deadline=None)
@given(workloads(), rules(), st.integers(1, 4), st.booleans())
def test_engine_equals_the_plain_reference(
    workload: Workload, rules: Rules, concurrency: int, use_priorities: bool
) -> None:
    answer = simulate(workload, Fleet(rules, STEP_MODEL), concurrency=concurrency, use_priorities=use_priorities)
    reference = Reference(
        workload, rules, lambda load: seconds_of(TERMS, load), concurrency=concurrency, use_priorities=use_priorities
    )
    records = reference.run()
    assert answer.status.tolist() == [record.status for record in records]
    assert answer.ready_s.tolist() == [record.ready_s for record in records]
    assert answer.admitted_s.tolist() == [record.admitted_s for record in records]
    assert answer.first_s.tolist() == [record.first_s for record in records]
    assert answer.end_s.tolist() == [record.end_s for record in records]
    assert answer.hit_tokens.tolist() == [record.hit_tokens for record in records]
    assert answer.reused_tokens.tolist() == [record.reused_tokens for record in records]
    assert answer.preemptions.tolist() == [record.preemptions for record in records]
    assert answer.busy_s == pytest.approx([record.busy_s for record in records], rel=1e-9, abs=1e-12)
    assert answer.total("steps") == reference.steps
    assert answer.totals[0].peak_tokens == reference.peak_tokens


@st.composite
def fleets(draw: st.DrawFn) -> Fleet:
    found = draw(rules())
    background = None
    if draw(st.booleans()):
        background = Background(
            draw(st.sampled_from((0.2, 2.0))), np.array([30, 200, 90], np.int32), np.array([4, 20, 1], np.int32)
        )
    return Fleet(
        rules=replace(found, offload_tokens=draw(st.sampled_from((0, 64, 2000))), offload_s_per_token=2.0**-16),
        step_model=STEP_MODEL,
        replicas=draw(st.integers(1, 3)),
        decode_replicas=draw(st.sampled_from((0, 0, 1, 2))),
        router=draw(st.sampled_from(ROUTERS)),
        round_trip_s=draw(st.sampled_from((0.0, 0.125))),
        entry_s=draw(st.sampled_from((0.0, 0.0625))),
        front_workers=draw(st.sampled_from((0, 1, 2))),
        front_call_s=0.125,
        front_token_s=2.0**-14,
        transfer_s=0.03125,
        transfer_token_s=2.0**-16,
        background=background,
    )


@settings(max_examples=200, deadline=None)
@given(workloads(), fleets(), st.integers(1, 4), st.integers(0, 3))
def test_no_fleet_breaks_the_laws(workload: Workload, fleet: Fleet, concurrency: int, seed: int) -> None:
    answer = simulate(workload, fleet, concurrency=concurrency, seed=seed)
    served = answer.served
    # every call is served or refused, and what is served is what was asked
    assert set(answer.status.tolist()) <= {SERVED, OVER_CONTEXT, OVER_MEMORY}
    assert (answer.produced_tokens[served] == workload.output_tokens[served]).all()
    assert (answer.produced_tokens[~served] == 0).all()
    # time is monotone, along a call and along every edge
    assert (answer.ready_s <= answer.end_s).all()
    assert (answer.entered_s[served] >= answer.ready_s[served]).all()
    assert (answer.admitted_s[served] >= answer.entered_s[served]).all()
    assert (answer.first_s[served] > answer.admitted_s[served]).all()
    assert (answer.end_s[served] >= answer.first_s[served]).all()
    sources, targets = workload.edges.sources, workload.edges.to
    assert (answer.ready_s[targets] >= answer.end_s[sources] + workload.edges.gap_s - 1e-12).all()
    # no more memory than there is, no hit where there is no chain, none on the last token
    assert all(totals.peak_tokens <= fleet.rules.kv_tokens for totals in answer.totals)
    known = answer.hit_tokens.astype(int) + answer.loaded_tokens
    assert (known[served] < np.maximum(1, workload.input_tokens[served])).all()
    chains = workload.prefixes.chain_blocks()
    assert (known <= chains * BLOCK).all()
    assert (answer.reused_tokens <= known).all()
    # what prompts found of other prompts is no more than what the hashes imply
    assert (known - answer.reused_tokens).sum() <= (
        workload.prefixes.total_blocks - workload.prefixes.unique_blocks
    ) * BLOCK
    # work is conserved: shares sum to the time worked, and nobody works longer than there was time
    assert answer.busy_s.sum() + answer.background_busy_s == pytest.approx(answer.total("busy_s"), rel=1e-9, abs=1e-9)
    assert all(totals.busy_s <= totals.last_end_s + 1e-9 for totals in answer.totals)
    assert answer.background_busy_s >= -1e-9
    # prompts are computed once, but for hits and what preemption lost
    if fleet.background is None and answer.total("preemptions") == 0:
        asked = np.maximum(1, workload.input_tokens)[served].sum() - known[served].sum()
        assert answer.total("prefill_tokens") == asked


@settings(max_examples=50, deadline=None)
@given(workloads(), fleets(), st.integers(0, 3))
def test_same_seed_gives_the_same_bytes(workload: Workload, fleet: Fleet, seed: int) -> None:
    first, second = (simulate(workload, fleet, concurrency=2, seed=seed) for _ in range(2))
    for name in ("ready_s", "first_s", "end_s", "busy_s", "hit_tokens", "replica", "status"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.totals == second.totals


@settings(max_examples=50, deadline=None)
@given(workloads(), st.sampled_from(ROUTERS), st.integers(1, 4))
def test_ample_fleet_serves_the_same_tokens_under_any_router(workload: Workload, router: str, replicas: int) -> None:
    ample = Rules(64, 4000, 4000, 0.0, 0.0, 1_000_000, 1000, 16)
    answer = simulate(workload, Fleet(ample, STEP_MODEL, replicas=replicas, router=router), concurrency=99)
    assert answer.served.all()
    decoded = np.maximum(0, workload.output_tokens - 1).sum()
    assert answer.total("decode_tokens") == decoded
    assert answer.total("prefill_tokens") + answer.hit_tokens.sum() == np.maximum(1, workload.input_tokens).sum()


def test_signal_stops_a_long_simulation() -> None:
    class EnoughError(Exception):
        pass

    def stop(*_: object) -> None:
        raise EnoughError

    long = made_up_workload(np.zeros(200_000), np.ones(200_000), np.full(200_000, 1000))
    before = signal.signal(signal.SIGUSR1, stop)
    sender = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    sender.start()
    try:
        with pytest.raises(EnoughError):
            simulate(long, Fleet(Rules(1, 8, 8, 0.0, 0.0, 10_000, 10_000, 16), STEP_MODEL))
    finally:
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_step_times_equal_the_plain_formula() -> None:
    loads = np.random.default_rng(0).integers(0, 1000, (64, 6)).astype(np.float64)
    seconds = np.frombuffer(_replay.step_seconds(STEP_MODEL, loads), np.float64)
    from inferometer.analyzer.stepterms import StepLoad

    assert seconds.tolist() == pytest.approx([seconds_of(TERMS, StepLoad(*load)) for load in loads])


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("leaf", np.array([5], np.int32), "leaf"),
        ("first", np.array([0, 2], np.int64), "session_first"),
        ("to", np.array([9], np.int32), "edge"),
    ],
)
def test_arrays_that_point_outside_are_refused(name: str, value: Any, text: str) -> None:
    one = np.array([1], np.int32)
    buffers: list[Any] = [
        *(one, one, np.array([-1], np.int32), np.zeros(1, np.uint8), np.zeros(1)),
        *(np.array([0, 1], np.int64), np.zeros(1), np.array([0, 0], np.int64), np.zeros(0, np.int32), np.zeros(0)),
        *(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int32)),
        *(Rules(1, 8, 8, 0, 0, 100, 100, 1).as_array(), STEP_MODEL),
        *(Rules(1, 8, 8, 0, 0, 100, 100, 1).as_array(), STEP_MODEL),
        np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 16, 0], np.float64),
    ]
    assert _replay.simulate(tuple(buffers), 0)["stuck"] == 0
    if name == "leaf":
        buffers[2] = value
    elif name == "first":
        buffers[5] = value
    else:
        buffers[7], buffers[8], buffers[9] = np.array([0, 1], np.int64), value, np.zeros(1)
    with pytest.raises(ValueError, match=text):
        _replay.simulate(tuple(buffers), 0)
