"""Rooflines: intensities that follow from a model's size, and what training runs reached."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from inferometer.analyzer.ledger import Ledger, PublishedRun, Training, TrainingRun
from inferometer.analyzer.replay import Scenario, replay
from inferometer.analyzer.roofline import decode_step, prefill, roofline
from inferometer.analyzer.stepterms import Demand, Parallelism, demand
from inferometer.analyzer.workload import build_workload
from inferometer.profiles.hardware import load_hardware
from inferometer.profiles.models import load_model
from inferometer.reports.charts.roofline import reached, roofline_chart
from inferometer.testing.workload import Workload

DENSE = "meta-llama/Llama-3.1-70B"
MIXTURE = "mistralai/Mixtral-8x7B-Instruct-v0.1"


def asked(model: str, precision: str = "bf16") -> Demand:
    return demand(load_model(model), Parallelism(), precision, "bf16")


def test_decoding_one_sequence_does_one_operation_a_byte_at_sixteen_bits_and_two_at_eight() -> None:
    assert decode_step(asked(DENSE), 1, 0).flop_per_byte == pytest.approx(1, rel=0.02)
    assert decode_step(asked(DENSE, "fp8"), 1, 0).flop_per_byte == pytest.approx(2, rel=0.05)


def test_a_batch_multiplies_the_intensity_of_weights_and_not_that_of_the_cache() -> None:
    one, many = decode_step(asked(DENSE), 1, 0), decode_step(asked(DENSE), 64, 0)
    assert many.flop_per_byte == pytest.approx(64 * one.flop_per_byte)
    need = asked(DENSE)
    endless = decode_step(need, 1e9, 100_000)
    limit = (need.flop_per_token + 1e5 * need.kv_flop_per_token) / (1e5 * need.kv_bytes_per_token)
    assert endless.flop_per_byte == pytest.approx(limit, rel=1e-3)


def test_a_step_reads_the_experts_that_its_tokens_go_to() -> None:
    need, experts = asked(MIXTURE), load_model(MIXTURE).experts
    assert experts is not None
    one = decode_step(need, 1, 0).bytes - need.weight_bytes
    assert one == pytest.approx(need.expert_bytes * experts.active / experts.total)
    assert decode_step(need, 1e6, 0).bytes - need.weight_bytes == pytest.approx(need.expert_bytes)


def test_a_prompt_of_two_steps_reads_the_weights_twice() -> None:
    need = asked(DENSE)
    for steps in (1, 2):
        work = prefill(need, 8192 * steps, 0, 8192)
        assert work.bytes == pytest.approx(steps * need.weight_bytes + 8192 * steps * need.kv_bytes_per_token)
        assert work.flop == pytest.approx(8192 * steps * need.flop_per_token)


def replayed(ledger: Ledger) -> dict[str, Any]:
    work = Workload()
    for number in range(4):
        work.call(work.run(number * 60), number * 60, 5, model=DENSE, input_fresh=4000, cache_read=0, output=200)
    workload = build_workload([call.row for call in work.dataset().calls], lambda row: Decimal(0))
    result = replay(workload, Scenario("h100_sxm", "vllm", DENSE, precision="fp8", tp=2), with_interval=False)
    found = roofline(result, ("h100_sxm", "a100_sxm", "b200_sxm"), ledger)
    assert found is not None
    return found


def test_decoding_lies_left_of_the_ridge_and_prefill_right_of_it() -> None:
    found = replayed(Ledger())
    assert 4000 < found["context_tokens"] < 4300
    h100 = load_hardware("h100_sxm")
    machine = found["machines"][0]
    ridge = machine["ridge_flop_per_byte"]
    assert ridge == pytest.approx(h100.compute.rates["fp8"] / h100.memory.bandwidth_bytes_per_s)
    by_name = {point["name"]: point["flop_per_byte"] for point in found["points"]}
    assert by_name["decode, 1 at once"] < by_name["decode, 64 at once"] < ridge < by_name["prefill"]
    assert reached(machine, ridge / 2) == pytest.approx(machine["flop_per_s"] / 2)
    assert reached(machine, ridge * 2) == machine["flop_per_s"]
    assert {one["id"] for one in found["machines"]} == {"h100_sxm", "b200_sxm"}  # an A100 has no eight-bit floats


def test_training_runs_stand_at_what_each_of_their_chips_reached() -> None:
    run = TrainingRun(
        name="sft",
        gpu_hours=Decimal(1000),
        usd_per_gpu_hour=Decimal(2),
        peak_flops_per_gpu=Decimal("989e12"),
        mfu=Decimal("0.4"),
    )
    silent = TrainingRun(name="dollars", usd=Decimal(5))
    published = PublishedRun(model="Llama-3.1-8B")
    found = replayed(Ledger(training=Training(run=(run, silent), published=(published,))))
    reached_by = {one["name"]: one["flop_per_s"] for one in found["training"]}
    assert reached_by == {
        "sft": pytest.approx(0.4 * 989e12),
        "Llama-3.1-8B": pytest.approx(7.23e23 / (1_460_000 * 3600)),
    }
    without, layers = roofline_chart(replayed(Ledger()))["layer"], roofline_chart(found)["layer"]
    assert len(layers) == len(without) + 3  # the runs' lines in one layer, and a label for each
