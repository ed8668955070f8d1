"""What each setting of a deployment does to the same calls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.analyzer.agents import H100

from inferometer.analyzer.replay import ReplayResult, replay
from inferometer.analyzer.replay_engine import simulate
from inferometer.analyzer.replay_fleet import build_deployment
from inferometer.analyzer.replay_sensitivity import measure_sensitivity
from inferometer.analyzer.workload import Workload, made_up_workload
from inferometer.analyzer.workload_edges import EdgeList


def test_background_takes_time_and_pays_its_share(workload: Workload, result: ReplayResult) -> None:
    crowded = replay(workload, replace(H100, background_rate_per_s=2.0, background_profile="azure_conv"))
    answer = crowded.as_dict()
    assert crowded.simulation.background_calls > 100
    assert answer["ttft_s"]["mean"] > result.as_dict()["ttft_s"]["mean"]
    assert answer["bill_shares_usd"]["other_tenants"] > 0
    assert sum(answer["bill_shares_usd"].values()) == answer["cost_usd_by_basis"]["dedicated"]
    assert answer["cost_basis"] == "shared"


def test_each_lever_does_what_it_is_for(workload: Workload, result: ReplayResult) -> None:
    base = result.as_dict()
    drafted = replay(workload, replace(H100, speculative_tokens=3)).as_dict()
    assert drafted["tpot_s"]["p50"] < base["tpot_s"]["p50"]
    small = replace(
        H100, speculative_tokens=3, speculative_kind="draft", draft_model="meta-llama/Llama-3.2-1B-Instruct"
    )
    assert drafted["tpot_s"]["p50"] < replay(workload, small).as_dict()["tpot_s"]["p50"] < base["tpot_s"]["p50"]
    far = replay(workload, replace(H100, round_trip_s=0.2)).as_dict()
    assert far["ttft_s"]["p50"] == pytest.approx(base["ttft_s"]["p50"] + 0.2, rel=0.05)
    cold = replay(workload, replace(H100, prefix_cache=False)).as_dict()
    assert cold["prefix_hit_rate"] == 0
    assert cold["ttft_s"]["mean"] > base["ttft_s"]["mean"]
    split = replay(workload, replace(H100, disaggregate=(1, 1))).as_dict()
    assert split["scenario"]["chips"] == 8
    assert split["refused"] == base["refused"]
    starved = replay(workload, replace(H100, gateway_workers=1, gateway_call_s=3.0)).as_dict()
    assert starved["gateway_s"]["mean"] > 3.0
    assert starved["queue_s"]["mean"] < 1.0


def test_queue_is_the_wait_for_a_place_in_the_batch() -> None:
    """With one place, the nth of ten calls that come at once waits until those before it have ended."""
    crowd = made_up_workload(np.zeros(10), np.full(10, 1000), np.full(10, 100))
    one = replay(crowd, replace(H100, max_sequences=1), with_interval=False)
    simulation = one.simulation
    assert simulation.admitted_s[1:] == pytest.approx(simulation.end_s[:-1])
    served = simulation.end_s[0] - simulation.admitted_s[0]
    queue = one.as_dict()["queue_s"]
    assert queue["p50"] == pytest.approx(4.5 * served)
    assert queue["max"] == pytest.approx(9 * served)
    assert queue["p90"] == pytest.approx(8.1 * served)
    wide = replay(crowd, H100, with_interval=False).as_dict()
    assert wide["queue_s"]["p50"] == 0  # eight of them fill the first step, the last waits for its end
    assert 0 < wide["queue_s"]["max"] < served
    assert wide["gateway_s"] == one.as_dict()["gateway_s"]  # the same whatever the engine's load


def test_offload_tier_brings_back_what_memory_forgot(workload: Workload) -> None:
    together = replace(workload, session_start_s=np.zeros(workload.sessions))
    deployment = build_deployment(H100, together)
    small = replace(deployment.fleet, rules=replace(deployment.fleet.rules, kv_tokens=12_000))
    backed = replace(small, rules=replace(small.rules, offload_tokens=10**6, offload_s_per_token=1e-7))
    without, with_tier = (simulate(together, fleet) for fleet in (small, backed))
    assert with_tier.loaded_tokens.sum() > 0
    assert with_tier.total("prefill_tokens") < without.total("prefill_tokens")


def test_next_prompt_finds_what_the_output_filled(workload: Workload) -> None:
    """Prompts here grow by the output and more, so that every call but a run's first goes on from the one before."""
    answer = replay(workload, H100).simulation
    size = workload.prefixes.block_tokens
    for source, target in zip(workload.edges.sources.tolist(), workload.edges.to.tolist(), strict=True):
        prompt, output = int(workload.input_tokens[source]), int(workload.output_tokens[source])
        assert answer.hit_tokens[target] == (prompt + output - 1) // size * size
        assert answer.reused_tokens[target] == answer.hit_tokens[target] - prompt // size * size
    document = replay(workload, H100).as_dict()
    assert document["generated_hit_rate"] > 0
    assert document["prefix_hit_rate"] == document["prefix_hit_rate_infinite"]
    rewritten = replace(workload, edges=EdgeList.none(workload.calls))
    assert replay(rewritten, H100).simulation.reused_tokens.sum() == 0


def test_priorities_let_serving_go_first() -> None:
    calls = made_up_workload([0.0, 0.0, 0.0], [8000, 8000, 8000], [10, 10, 10])
    calls = replace(calls, priority=np.array([2, 1, 0], np.uint8))
    one = replace(H100, max_sequences=1)
    plain = replay(calls, one).simulation.end_s
    by_purpose = replay(calls, replace(one, use_priorities=True)).simulation.end_s
    assert plain.argsort().tolist() == [0, 1, 2]
    assert by_purpose.argsort().tolist() == [2, 1, 0]


def test_sensitivity_brackets_the_recorded_behaviour(workload: Workload) -> None:
    lines = {(line["output"], line["steps"]): line for line in measure_sensitivity(workload, H100)}
    assert set(lines) == {(0.5, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, 0.5), (1.0, 2.0)}
    used = {key: line["cost_usd_by_basis"]["pay_per_use"] for key, line in lines.items()}
    assert used[0.5, 1.0] < used[1.0, 1.0] < used[2.0, 1.0]
    assert used[1.0, 0.5] < used[1.0, 1.0] < used[1.0, 2.0]
