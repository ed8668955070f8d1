"""Replays within an audit: stand-ins for closed models, levers for self-hosted ones."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_scenarios import STAND_IN, replay_audit, served_calls
from inferometer.analyzer.ledger import Ledger, Reserved
from inferometer.analyzer.recommend_fleet import workload_of
from inferometer.analyzer.recommend_serving import least_refusals
from inferometer.analyzer.replay import Scenario, replay
from inferometer.profiles.hardware import load_hardware
from inferometer.schema.errors import UnknownNameError
from inferometer.testing.workload import Workload

OPEN = "meta-llama/Llama-3.1-70B"


def dataset(model: str, provider: str, runs: int = 12) -> Dataset:
    work = Workload()
    for number in range(runs):
        run = work.run(number * 20)
        for turn in range(4):
            blocks = range(300 * number, 300 * number + 200 + 20 * turn)
            work.call(
                run,
                number * 20 + turn * 15,
                10,
                model=model,
                provider=provider,
                blocks=blocks,
                input_fresh=len(blocks) * 64,
                cache_read=0,
                output=400,
            )
    return work.dataset()


def test_calls_to_a_closed_model_are_replayed_on_a_stand_in_and_yield_no_serving_advice() -> None:
    found = replay_audit(dataset("large", "acme"), Ledger())
    hardware = [row for row in found.scenarios if row["kind"] == "hardware"]
    assert {row["scenario"]["hardware"] for row in hardware} >= {"h100_sxm", "h200_sxm", "b200_sxm", "mi300x"}
    assert all(STAND_IN in row["note"] for row in hardware)
    assert found.recommendations == []
    assert found.own_hardware_usd_per_day is not None


def test_self_hosted_calls_get_recommendations_that_are_differences_of_replays() -> None:
    found = replay_audit(dataset(OPEN, "vllm"), Ledger())
    rows = {row["id"]: row for row in found.scenarios}
    base = Decimal(rows["hardware-h100_sxm"]["cost_usd_by_basis"]["shared"])
    advised = {one.id: one for one in found.recommendations}
    assert advised.keys() == {"other_hardware", "quantise_kv", "speculative_decoding"}
    for id_ in ("quantise_kv", "speculative_decoding"):
        changed = Decimal(rows[f"{id_}-h100_sxm"]["cost_usd_by_basis"]["shared"])
        assert advised[id_].saving_usd.mid == pytest.approx(base - changed, abs=Decimal("0.000002"))
    savings = [one.saving_usd.mid for one in found.recommendations]
    assert savings == sorted(savings, reverse=True)
    assert all(one.basis == "own_hardware" for one in found.recommendations)


def test_reserved_hardware_turns_the_saving_into_freed_capacity() -> None:
    reserved = Ledger(reserved=(Reserved(hardware="h100_sxm", gpus=8, usd_per_gpu_hour=Decimal(2)),))
    advised = replay_audit(dataset(OPEN, "vllm"), reserved).recommendations
    assert {one.id for one in advised} >= {"other_hardware", "consolidate_replicas"}
    for one in advised:
        assert one.cash_usd.mid == 0
        assert one.freed_capacity_usd == one.saving_usd


def test_disaggregation_has_to_beat_one_replica_and_two() -> None:
    found = replay_audit(dataset(OPEN, "vllm"), Ledger())
    costs = {row["id"]: row["cost_usd_by_basis"]["shared"] for row in found.scenarios}
    assert costs["disaggregation-h100_sxm"] > costs["hardware-h100_sxm"]
    assert "disaggregation" not in {one.id for one in found.recommendations}


def test_replayed_advice_states_joules_and_carbon_before_and_after() -> None:
    found = replay_audit(dataset(OPEN, "vllm"), Ledger())
    rows = {row["id"]: row for row in found.scenarios}
    advised = next(one for one in found.recommendations if one.id == "speculative_decoding")
    for when, id_ in (("before", "hardware-h100_sxm"), ("after", "speculative_decoding-h100_sxm")):
        joules = advised.details["energy_j"][when]
        assert joules == pytest.approx(rows[id_]["energy_kwh"] * 3.6e6)
        assert advised.details["gco2e"][when] == pytest.approx(joules / 3.6e6 * 369)


def test_machines_that_are_only_sold_whole_are_replayed_whole() -> None:
    rows = {row["scenario"]["hardware"]: row for row in replay_audit(dataset(OPEN, "vllm"), Ledger()).scenarios}
    whole = {name: machine for name in rows if (machine := load_hardware(name).deployment) is not None}
    assert {"cerebras_cs3", "sambanova_sn50"} <= whole.keys()
    for name, machine in whole.items():
        scenario = rows[name]["scenario"]
        assert scenario["chips"] % machine.chips == 0
        assert scenario["pp"] % machine.pipeline_stages == 0
        assert scenario["tp"] * scenario["pp"] == scenario["chips"]


@pytest.mark.parametrize("ranks", [1, 2])
def test_lengths_alone_tell_what_a_replay_would_refuse(ranks: int) -> None:
    work = Workload()
    for number, tokens in enumerate((1_000, 30_000, 60_000, 100_000, 130_000, 140_000)):
        run = work.run(number * 60)
        work.call(run, number * 60, 5, model=OPEN, provider="vllm", input_fresh=tokens, cache_read=0, output=10)
    workload = workload_of(work.dataset().calls)
    assert workload is not None
    scenario = Scenario("h100_sxm", "vllm", OPEN, precision="fp8", tp=ranks)
    refused = replay(workload, scenario, with_interval=False).as_dict()["refused"]
    least = least_refusals(workload, scenario)
    assert (least.over_context, least.over_memory) == (refused["over_context"], refused["over_memory"])
    assert (refused["over_memory"] > 0) is (ranks == 1)
    assert refused["over_context"] > 0


def test_without_usage_there_is_nothing_to_replay() -> None:
    work = Workload()
    work.call(work.run())
    assert replay_audit(work.dataset(), Ledger()).scenarios == []
    assert replay_audit(Workload().dataset(), Ledger()).scenarios == []


def test_an_unknown_stand_in_is_refused_with_its_neighbours() -> None:
    with pytest.raises(UnknownNameError, match="nearest known"):
        replay_audit(dataset("large", "acme"), Ledger(), "Lama-3.1-70B-x")


def test_large_workloads_are_sampled_by_whole_sessions_and_scaled() -> None:
    served = served_calls(dataset("large", "acme", runs=40), None)
    assert served is not None
    part, scale = served.sample(40)
    assert len(part.calls) == 40
    assert len({call.placement.run_id for call in part.calls}) == 10
    assert float(scale) == pytest.approx(4)
    assert "40 of the 160 calls" in part.note
    assert served.sample(1000) == (served, Decimal(1))
