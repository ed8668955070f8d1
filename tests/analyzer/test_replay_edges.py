"""The ends of what a call and a deployment can be: no output, one token, a full window, one place, few KV tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.analyzer.agents import H100

from inferometer.analyzer.replay import Scenario, replay
from inferometer.analyzer.replay_capacity import Target, plan_capacity
from inferometer.analyzer.replay_recount import count_as
from inferometer.analyzer.workload import MOST_TOKENS, Workload, build_workload, made_up_workload
from inferometer.schema.errors import UserError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference
from inferometer.schema.rows import InferenceRow, Placement

UNKNOWN = dict.fromkeys(("p50", "p90", "p99", "mean", "max"))


def calls(inputs: list[int], outputs: list[int]) -> Workload:
    """Return calls that come at once."""
    return made_up_workload(np.zeros(len(inputs)), inputs, outputs)


def answer(workload: Workload, **changes: Any) -> dict[str, Any]:
    """Return the replay's document, after looking for numbers that are none."""
    found = replay(workload, replace(H100, **changes)).as_dict()
    assert list(_impossible(found)) == []
    return found


def _impossible(node: Any, path: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _impossible(value, f"{path}.{key}")
    elif isinstance(node, int | float) and not (math.isfinite(node) and node >= 0):
        yield f"{path} = {node}"


def test_call_without_output_ends_with_its_prompt_and_has_no_first_token() -> None:
    mixed = answer(calls([1000, 1000], [0, 2]))
    assert answer(calls([1000], [0]))["ttft_s"] == answer(calls([1000], [0]))["tpot_s"] == UNKNOWN
    assert mixed["ttft_s"]["max"] == mixed["ttft_s"]["mean"] < mixed["e2e_s"]["max"]
    assert mixed["median_interval"]["ttft_s"]["low"] is not None
    assert mixed["goodput"] == pytest.approx(2 / mixed["makespan_s"])  # it kept what could be asked of it
    assert answer(calls([1000], [0]), speculative_tokens=3)["output_tokens"] == 0
    split = answer(calls([1000, 10], [0, 1]), disaggregate=(1, 1))
    assert split["refused"] == {"over_context": 0, "over_memory": 0}


def test_first_token_comes_with_the_prompt_and_each_further_one_takes_a_step() -> None:
    one, two, three = (answer(calls([1000], [tokens])) for tokens in (1, 2, 3))
    assert one["tpot_s"] == UNKNOWN
    assert one["ttft_s"]["p50"] == one["e2e_s"]["p50"] == two["ttft_s"]["p50"]
    step = two["e2e_s"]["p50"] - one["e2e_s"]["p50"]
    assert two["tpot_s"]["p50"] == pytest.approx(step)
    assert three["e2e_s"]["p50"] - two["e2e_s"]["p50"] == pytest.approx(step, rel=1e-3)


@pytest.mark.parametrize("inputs", [0, 1])
def test_prompt_of_next_to_nothing_takes_a_step(inputs: int) -> None:
    assert answer(calls([inputs], [10]))["ttft_s"]["p50"] > 0


def test_a_prompt_fills_the_window_and_no_more() -> None:
    found = answer(calls([131_071, 131_072, 131_073], [1, 1, 1]))
    assert found["refused"] == {"over_context": 1, "over_memory": 0}
    assert found["warnings"] == {"output_past_window": 1}


def test_nothing_served_has_no_cost_and_no_energy() -> None:
    for found in (answer(calls([200_000] * 3, [10] * 3)), answer(calls([1000], [100]), kv_tokens=500)):
        assert sum(found["refused"].values()) == found["calls"]
        assert found["infeasible_runs_share"] == 1.0
        assert found["cost_usd"] == {"low": None, "mid": None, "high": None}
        assert found["energy_kwh"] is None
        assert found["e2e_s"] == UNKNOWN


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_memory_of_one_call_serves_one_at_a_time_and_less_serves_none(engine: str) -> None:
    crowd = calls([1000] * 5, [100] * 5)
    least = next(kv for kv in range(1000, 2000) if not sum(_refused(crowd, engine, kv).values()))
    assert 1100 <= least <= 1300
    assert _refused(crowd, engine, least - 1) == {"over_context": 0, "over_memory": 5}
    found = replay(crowd, replace(H100, engine=engine, kv_tokens=least), with_interval=False).simulation
    assert found.admitted_s[1:] == pytest.approx(found.end_s[:-1])
    assert found.total("preemptions") == 0


def _refused(crowd: Workload, engine: str, kv_tokens: int) -> dict[str, int]:
    scenario = replace(H100, engine=engine, kv_tokens=kv_tokens)
    found: dict[str, int] = replay(crowd, scenario, with_interval=False).as_dict()["refused"]
    return found


def test_one_place_in_the_batch_serves_as_if_alone() -> None:
    alone, queued = answer(calls([1000], [100])), answer(calls([1000] * 4, [100] * 4), max_sequences=1)
    assert queued["tpot_s"]["p50"] == pytest.approx(alone["tpot_s"]["p50"])
    served = alone["makespan_s"] - alone["gateway_s"]["p50"]  # all four pass the front end at once
    assert queued["makespan_s"] == pytest.approx(alone["makespan_s"] + 3 * served)


@pytest.mark.parametrize("limit", ["max_step_tokens", "chunk_tokens"])
def test_a_token_a_step_reads_a_prompt_in_as_many_steps(limit: str) -> None:
    found = replay(calls([50], [5]), replace(H100, **{limit: 1}), with_interval=False).simulation
    assert found.total("steps") == 50 + 4


@pytest.mark.parametrize("scale", ["input_scale", "output_scale"])
def test_scale_beyond_counting_is_refused_and_not_wrapped_around(scale: str) -> None:
    workload = calls([100], [10])
    scenario: Scenario = replace(H100, **{scale: 1e12})
    served = count_as(workload, scenario, H100.model).workload
    assert max(served.input_tokens.max(), served.output_tokens.max()) == MOST_TOKENS
    assert sum(answer(workload, **{scale: 1e12})["refused"].values()) == 1


def test_lengths_that_no_call_has_are_counted_and_left_out() -> None:
    rows = [
        InferenceRow(
            Inference(bytes(16), number.to_bytes(8, "big"), meters=Meters(input_fresh=tokens, output=output)),
            Placement(f"run{number}", None, None, None, None),
        )
        for number, (tokens, output) in enumerate([(100, 10), (5 * 10**9, 10), (100, MOST_TOKENS + 1)])
    ]
    workload = build_workload(rows)
    assert workload.input_tokens.tolist() == [100]
    assert workload.warnings["impossible_lengths"] == 2


def test_objective_of_tokens_that_never_come_is_a_mistake() -> None:
    with pytest.raises(UserError, match="no call has a tpot"):
        plan_capacity(calls([100], [1]), H100, [Target.named("tpot_p95", 0.1)])
    with pytest.raises(UserError, match="no call has a ttft"):
        plan_capacity(calls([100], [0]), H100, [Target.named("ttft_p95", 0.1)])
