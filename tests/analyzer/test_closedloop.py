"""Closed loops in closed form: the arithmetic of queues holds at the edges."""

from __future__ import annotations

import pytest

np = pytest.importorskip("numpy")

from inferometer.analyzer.closedloop import Latencies, Loops, settle, stack  # noqa: E402
from inferometer.analyzer.steptime import StepLoad, StepModel, step_model  # noqa: E402
from inferometer.profiles.engines import load_engine  # noqa: E402
from inferometer.profiles.hardware import load_hardware  # noqa: E402
from inferometer.profiles.models import load_model  # noqa: E402


@pytest.fixture(scope="module")
def model() -> StepModel:
    return step_model(
        load_hardware("h100_sxm"), load_engine("vllm"), load_model("meta-llama/Llama-3.1-70B"), precision="fp8", tp=4
    )


def solve(model: StepModel, users: float, tokens_in: float, tokens_out: float, **changes: float) -> Latencies:
    one = np.ones(1)
    loops = Loops(
        users=users * one,
        input_tokens=tokens_in * one,
        output_tokens=tokens_out * one,
        kv_capacity_tokens=changes.get("capacity", 1e9) * one,
        max_sequences=changes.get("sequences", 1024) * one,
        chunk_tokens=8192 * one,
        prefill_first=np.array([bool(changes.get("prefill_first", 0))]),
        reserve_all=np.array([False]),
        frontend_seconds=changes.get("frontend", 0.0) * one,
        arrival_burst=0.1 * one,
    )
    return settle(stack([model.terms]), loops)


def test_lone_user_decodes_at_the_step_time(model: StepModel) -> None:
    said = solve(model, 1, 1000, 500)
    step = model.seconds(StepLoad(1, 1, 1250))
    assert float(said.tpot_seconds[0]) == pytest.approx(step, rel=0.02)
    prompt = model.seconds(StepLoad(1, 0, 0, 0, 1000, 500_000))
    assert prompt < float(said.ttft_seconds[0]) < prompt + 2 * step


def test_more_users_wait_longer_and_serve_more(model: StepModel) -> None:
    said = [solve(model, users, 2000, 500) for users in (1, 4, 16, 64)]
    tpot = [float(each.tpot_seconds[0]) for each in said]
    ttft = [float(each.ttft_seconds[0]) for each in said]
    rate = [users / float(each.tpot_seconds[0]) for users, each in zip((1, 4, 16, 64), said, strict=True)]
    assert tpot == sorted(tpot)
    assert ttft == sorted(ttft)
    assert rate == sorted(rate)


def test_users_beyond_memory_wait_and_the_running_ones_do_not_slow_down(model: StepModel) -> None:
    free = solve(model, 32, 2000, 500)
    full = solve(model, 32, 2000, 500, capacity=16 * 2300)
    assert not free.waiting[0]
    assert full.waiting[0]
    assert float(full.running[0]) == pytest.approx(16)
    assert float(full.tpot_seconds[0]) < float(free.tpot_seconds[0])
    assert float(full.ttft_seconds[0]) > float(free.ttft_seconds[0]) + float(full.cycle_seconds[0]) * 0.9


def test_sequence_limit_acts_as_memory_does(model: StepModel) -> None:
    assert float(solve(model, 64, 1000, 500, sequences=8).running[0]) == 8


def test_prompts_first_stall_decodes(model: StepModel) -> None:
    mixed = solve(model, 64, 4000, 200)
    stalled = solve(model, 64, 4000, 200, prefill_first=1)
    assert float(stalled.tpot_seconds[0]) > float(mixed.tpot_seconds[0])


def test_front_end_adds_to_the_first_token_alone(model: StepModel) -> None:
    near, far = solve(model, 8, 1000, 500), solve(model, 8, 1000, 500, frontend=0.2)
    assert float(far.ttft_seconds[0]) - float(near.ttft_seconds[0]) == pytest.approx(0.2, rel=0.05)
    assert float(far.tpot_seconds[0]) == pytest.approx(float(near.tpot_seconds[0]), rel=0.05)
