"""Recommendations among each other: their order, their set, and silence where nothing helps."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tests.analyzer.recommending import (
    RULE,
    M,
    applied,
    evaluation_in_turns,
    examined,
    growing_results,
    lone_evaluations,
    looping,
    offering_unused,
    paused,
    recommended,
    same_prefix,
    small_calls,
    together,
    unmarked_results,
    with_large_result,
)

from inferometer.analyzer.ledger import Commitment, Ledger
from inferometer.analyzer.recommend import recommend
from inferometer.analyzer.waste import Examined
from inferometer.testing.workload import Workload


def test_where_nothing_helps_nothing_is_recommended() -> None:
    work = Workload()
    for number in range(5):
        run = work.run(number * 10_000)
        blocks = range(1000 * number, 1000 * number + 40)
        work.call(run, number * 10_000, 5, blocks=blocks, input_fresh=2600, cache_read=0, output=900)
        work.tool(run, number * 10_000 + 5, 1, fingerprint=str(number), result_tokens=100)
    ranked, best = recommend(examined(work))
    assert ranked == []
    assert best.ids == []
    assert best.saving_usd.mid == 0


def test_the_same_waste_is_cash_on_demand_and_freed_capacity_under_a_commitment() -> None:
    on_demand = recommended(same_prefix())["prompt_caching"]
    committed = Ledger(commitment=(Commitment(provider="acme", usd_per_month=Decimal(1000)),))
    under = recommended(same_prefix(), ledger=committed)["prompt_caching"]
    assert on_demand.cash_usd == on_demand.saving_usd == under.freed_capacity_usd
    assert on_demand.freed_capacity_usd.mid == under.cash_usd.mid == 0


def test_larger_savings_come_first() -> None:
    work = same_prefix()
    run = work.run(5000)
    for turn in range(3):
        work.call(run, 5000 + turn * 10, 5, input_fresh=200, cache_read=0, output=0)
        work.tool(run, 5005 + turn * 10, 1, fingerprint="same")
    ranked, _ = recommend(examined(work))
    savings = [found.saving_usd.mid for found in ranked]
    assert len(savings) >= 2
    assert savings == sorted(savings, reverse=True)


@pytest.mark.parametrize(
    ("make", "id_"),
    [
        (same_prefix, "prompt_caching"),
        (lambda: paused(600), "cache_1h"),
        (with_large_result, "truncate_tool_results"),
        (lambda: looping(5), "stop_loops"),
        (small_calls, "smaller_model"),
        (growing_results, "clear_old_results"),
        (unmarked_results, "clear_old_results"),
        (offering_unused, "drop_unused_tools"),
        (lone_evaluations, "batch"),
        (evaluation_in_turns, "flex"),
    ],
)
def test_applying_one_and_auditing_again_yields_what_was_promised(make: Any, id_: str) -> None:
    work = make()
    found = recommended(work)[id_]
    after = applied(work, id_)
    realised = work.dataset().cost_usd - after.cost_usd
    assert found.saving_usd.low <= realised <= found.saving_usd.high
    assert realised == found.saving_usd.mid
    again = {one.id: one for one in recommend(Examined(after, lambda call: RULE))[0]}
    assert id_ not in again or again[id_].saving_usd.mid < found.saving_usd.mid / 4


def test_the_best_set_never_promises_more_than_its_members_together() -> None:
    work = Workload()
    run = work.run()
    for turn in range(8):
        work.call(run, turn * 10, 5, blocks=range(100), input_fresh=6400, cache_read=0, output=0)
        work.tool(run, turn * 10 + 5, 1, fingerprint=str(turn // 2))
    best = together(work)
    assert set(best.ids) == {"prompt_caching", "stop_loops"}
    # four calls are left, of which the first writes and three read
    assert best.remaining_usd == (6400 * Decimal("12.5") + 3 * 6400) / M
    assert best.saving_usd.mid == work.dataset().cost_usd - best.remaining_usd
    assert best.saving_usd.mid < best.sum_of_parts_usd


def test_exclusive_changes_are_never_in_one_set() -> None:
    work = growing_results()
    run_id = work.runs[0]
    for turn in range(11):
        work.tool(run_id, turn * 10 + 5, 1, fingerprint=str(turn), result_tokens=10_000)
    ids = set(together(work).ids)
    assert not {"truncate_tool_results", "clear_old_results"} <= ids


def test_sampled_runs_save_by_their_weight() -> None:
    one, ten = same_prefix(), same_prefix()
    for row in ten.rows:
        row.placement.weight = 10.0
    assert recommended(ten)["prompt_caching"].saving_usd.mid == 10 * recommended(one)["prompt_caching"].saving_usd.mid


def test_caching_and_a_smaller_model_save_together_less_than_apart() -> None:
    work = Workload()
    run = work.run()
    for turn in range(5):
        work.call(run, turn * 10, 5, blocks=range(32), input_fresh=2048, cache_read=0, output=10)
    work.call(work.run(500), 500, 5, model="small", input_fresh=5000, cache_read=0, output=500)
    alone, best = recommended(work), together(work)
    large = (2048 * 10 + 10 * 50) / M
    caching = 4 * 2048 * 10 / M - (2048 * Decimal("2.5") + 4 * 2048) / M
    smaller = 5 * (large - (2048 + 10 * 5) / M - large / 10)
    assert alone["prompt_caching"].saving_usd.mid == caching
    assert alone["smaller_model"].saving_usd.mid == smaller
    # on the small model one write and four reads; a tenth of the calls is made again on the large one
    kept = (2048 * Decimal("1.25") + 4 * 2048 * Decimal("0.1") + 5 * 10 * 5) / M + 5 * large / 10
    assert set(best.ids) == {"prompt_caching", "smaller_model"}
    assert best.saving_usd.mid == 5 * large - kept
    assert best.sum_of_parts_usd == caching + smaller > 5 * large > best.saving_usd.mid


def test_the_set_says_why_a_recommendation_is_not_in_it() -> None:
    work = growing_results()
    run_id = work.runs[0]
    for turn in range(11):
        work.tool(run_id, turn * 10 + 5, 1, fingerprint=str(turn), result_tokens=10_000)
    alone, best = recommended(work), together(work)
    assert {"truncate_tool_results", "clear_old_results"} <= alone.keys()
    assert alone.keys() == {*best.ids, *best.left_out}
    (reason,) = (best.left_out[id_] for id_ in ("truncate_tool_results", "clear_old_results") if id_ in best.left_out)
    assert reason.startswith("excludes ")
