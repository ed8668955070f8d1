"""Changes to how calls are served, replayed together: what they save jointly is one difference of two replays."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.audit_scenarios import replay_audit
from inferometer.analyzer.ledger import Ledger, Reserved
from inferometer.analyzer.recommend import Money, Recommendation
from inferometer.analyzer.recommend_fleet import halves_by_length, workload_of
from inferometer.analyzer.recommend_serving import LEVERS, SHARED, Comparison, Lever, cost_range
from inferometer.analyzer.recommend_serving_set import (
    OTHER_BASIS,
    Candidate,
    lever_candidate,
    mixed_candidate,
    serving_set,
)
from inferometer.analyzer.replay import ReplayResult, Scenario, replay
from inferometer.analyzer.workload import Workload as Calls
from inferometer.testing.workload import Workload

OPEN = "meta-llama/Llama-3.1-70B"
KV, DRAFT = (next(lever for lever in LEVERS if lever.id == id_) for id_ in ("quantise_kv", "speculative_decoding"))


def dataset(runs: int = 12) -> Dataset:
    work = Workload()
    for number in range(runs):
        run = work.run(number * 20)
        for turn in range(4):
            blocks = range(300 * number, 300 * number + 200 + 20 * turn)
            work.call(
                run, number * 20 + turn * 15, 10, model=OPEN, provider="vllm", blocks=blocks,
                input_fresh=len(blocks) * 64, cache_read=0, output=400,
            )  # fmt: skip
    return work.dataset()


def calls_of(data: Dataset) -> Calls:
    found = workload_of(data.calls)
    assert found is not None
    return found


def usd(result: ReplayResult) -> Decimal:
    found = cost_range(result, SHARED)
    assert found is not None
    return found.mid


def base_scenario(**changes: object) -> Scenario:
    return replace(Scenario("h100_sxm", "vllm", OPEN, precision="fp8", tp=2), **changes)


def compared(data: Dataset) -> Comparison:
    return Comparison(replay(calls_of(data), base_scenario()), data, Ledger(), Decimal(1))


def advised(lever: Lever, comparison: Comparison, data: Dataset, id_: str = "", **changes: object) -> Recommendation:
    result = replay(calls_of(data), lever.change(base_scenario()))
    (found,) = comparison.worth(id_ or lever.id, lever.title, lever.action, lever.condition, result)
    return replace(found, **changes)


def test_what_two_levers_save_together_is_the_replay_with_both() -> None:
    data = dataset()
    comparison = compared(data)
    candidates = [lever_candidate(advised(lever, comparison, data), lever) for lever in (KV, DRAFT)]
    found = serving_set(comparison, calls_of(data), candidates)
    assert found is not None
    both = replay(calls_of(data), DRAFT.change(KV.change(base_scenario())), with_interval=False)
    assert set(found.ids) == {"quantise_kv", "speculative_decoding"}
    assert found.remaining_usd == pytest.approx(usd(both))
    assert found.saving_usd.mid == pytest.approx(usd(comparison.baseline) - usd(both))
    assert found.saving_share == pytest.approx(float(1 - usd(both) / usd(comparison.baseline)))
    assert found.sum_of_parts_usd == sum(one.recommendation.saving_usd.mid for one in candidates)
    assert found.left_out == {}


def test_hardware_and_its_levers_never_save_more_than_everything() -> None:
    found = replay_audit(dataset(), Ledger())
    rows = {row["id"]: row for row in found.scenarios}
    together = found.serving_set
    assert together is not None
    base = Decimal(rows["hardware-h100_sxm"]["cost_usd_by_basis"]["shared"])
    # alone they would save more than there is
    assert together.sum_of_parts_usd > base > together.saving_usd.mid > 0
    machine = next(one for one in found.recommendations if one.id == "other_hardware").details["scenario"]
    assert {"other_hardware", "speculative_decoding"} <= set(together.ids)
    scenario = base_scenario(hardware=machine["hardware"], tp=machine["tp"])
    for lever in (KV, DRAFT):
        if lever.id in together.ids:
            scenario = lever.change(scenario)
    joint = usd(replay(calls_of(dataset()), scenario, with_interval=False))
    assert float(together.saving_usd.mid) == pytest.approx(float(base - joint), abs=2e-6)
    assert float(together.remaining_usd) == pytest.approx(float(joint), abs=2e-6)


def test_the_same_change_twice_saves_once() -> None:
    data = dataset()
    comparison = compared(data)
    one, again = advised(DRAFT, comparison, data), advised(DRAFT, comparison, data, "twin")
    found = serving_set(comparison, calls_of(data), [lever_candidate(one, DRAFT), lever_candidate(again, DRAFT)])
    assert found is not None
    assert found.ids == ["speculative_decoding"]
    assert found.saving_usd == one.saving_usd
    assert found.sum_of_parts_usd == one.saving_usd.mid
    assert found.left_out == {"twin": "saves nothing beside speculative_decoding"}


def test_changes_that_exclude_each_other_are_resolved_for_the_larger_saving() -> None:
    data = dataset()
    comparison = compared(data)
    small = advised(KV, comparison, data, exclusive_with=("speculative_decoding",))
    large = advised(DRAFT, comparison, data)
    assert large.saving_usd.mid > small.saving_usd.mid
    found = serving_set(comparison, calls_of(data), [lever_candidate(small, KV), lever_candidate(large, DRAFT)])
    assert found is not None
    assert found.ids == ["speculative_decoding"]
    assert found.saving_usd == large.saving_usd
    assert found.left_out == {"quantise_kv": "excludes speculative_decoding"}


def test_savings_of_paid_hours_are_told_apart_from_those_of_busy_hours() -> None:
    data = dataset()
    comparison = compared(data)
    hours = replace(advised(DRAFT, comparison, data), id="reserve_hardware", saving_usd=Money(*[Decimal(99)] * 3))
    lever = lever_candidate(advised(KV, comparison, data), KV)
    found = serving_set(comparison, calls_of(data), [Candidate(hours, None), lever])
    assert found is not None
    assert found.ids == ["quantise_kv"]
    assert found.left_out == {"reserve_hardware": OTHER_BASIS}


def test_a_mixed_fleet_and_a_lever_are_replayed_on_both_halves() -> None:
    work = Workload()
    for number in range(8):
        run = work.run(number * 20)
        for turn in range(2):
            at_s, tokens = number * 20 + turn * 15, 500 if number % 2 else 8000
            work.call(run, at_s, 10, model=OPEN, provider="vllm", input_fresh=tokens, cache_read=0, output=100)
    data = work.dataset()
    comparison = compared(data)
    halves = halves_by_length(data.calls)
    assert halves is not None
    machines = [base_scenario(hardware=name, tp=1) for name in ("mi300x", "h200_sxm")]
    short, long = (replay(calls_of(data), scenario) for scenario in machines)
    mixed = replace(advised(DRAFT, comparison, data), id="mixed_fleet")
    candidates = [
        mixed_candidate(mixed, data.calls, short, long),
        lever_candidate(advised(DRAFT, comparison, data), DRAFT),
    ]
    found = serving_set(comparison, calls_of(data), candidates)
    assert found is not None
    assert set(found.ids) == {"mixed_fleet", "speculative_decoding"}
    parts = [workload_of(half) for half in halves[:2]]
    joint = sum(
        usd(replay(part, DRAFT.change(scenario), with_interval=False))
        for part, scenario in zip(parts, machines, strict=True)
        if part is not None
    )
    assert found.remaining_usd == pytest.approx(joint)


def test_reserving_machines_is_advice_beside_the_set() -> None:
    ledger = Ledger(reserved=(Reserved(hardware="h100_sxm", gpus=16, usd_per_gpu_hour=Decimal(2)),))
    work = Workload()
    for hour in range(0, 192, 24):
        run = work.run(hour * 3600)
        work.call(run, hour * 3600, 5, model=OPEN, provider="vllm", input_fresh=10_000, cache_read=0, output=100)
    work.call(work.run(191 * 3600), 191 * 3600, 5, model=OPEN, provider="vllm", input_fresh=10_000, output=100)
    found = replay_audit(work.dataset(), ledger)
    assert found.serving_set is not None
    assert found.serving_set.left_out["release_reserved"] == OTHER_BASIS
    assert "release_reserved" not in found.serving_set.ids
