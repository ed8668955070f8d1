"""Recommendations: savings that are known in closed form, their order, and silence where nothing helps."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.ledger import Commitment, Ledger
from inferometer.analyzer.recommend import BestSet, Recommendation, proposals, recommend
from inferometer.analyzer.recommend_context import CLEARING_STEP_TOKENS, KEPT_RESULT_TOKENS
from inferometer.analyzer.waste import CacheRule, Examined
from inferometer.profiles.prices import load_prices
from inferometer.schema.records import Composition, Purpose, ToolOffered
from inferometer.testing.workload import Workload

RULE = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "documentation")
STRICT = CacheRule("acme", 4096, 64, 300.0, 3600.0, False, "documentation")
AUTOMATIC = CacheRule("acme", 1024, 64, 300.0, 3600.0, True, "documentation")
M = Decimal(1_000_000)


def examined(work: Workload, rule: CacheRule | None = RULE, ledger: Ledger | None = None) -> Examined:
    return Examined(work.dataset(), lambda call: rule, ledger or Ledger())


def recommended(work: Workload, **more: Any) -> dict[str, Recommendation]:
    return {found.id: found for found in recommend(examined(work, **more))[0]}


def together(work: Workload, **more: Any) -> BestSet:
    return recommend(examined(work, **more))[1]


def applied(work: Workload, id_: str, **more: Any) -> Dataset:
    looked = examined(work, **more)
    proposal = next(found for found in proposals(looked) if found.id == id_)
    return looked.dataset.with_calls(proposal.apply(looked.dataset.calls))


def same_prefix(calls: int = 5, blocks: int = 100, read: int | None = 0, gap_s: float = 10) -> Workload:
    """Return one run that sends the same whole blocks again and again, without a cache."""
    work = Workload()
    run = work.run()
    for turn in range(calls):
        work.call(run, turn * gap_s, 5, blocks=range(blocks), input_fresh=blocks * 64, cache_read=read, output=0)
    return work


def test_prompt_caching_saves_one_write_and_reads_of_the_prefix() -> None:
    found = recommended(same_prefix())["prompt_caching"]
    # five times 6,400 tokens at 10 dollars become one write at 12.5 and four reads at 1
    saving = (5 * 6400 * 10 - (6400 * Decimal("12.5") + 4 * 6400)) / M
    assert found.saving_usd.mid == found.saving_usd.high == saving
    assert found.cash_usd.mid == saving
    assert found.confidence == "recount"


def test_a_prefix_below_the_providers_minimum_yields_no_caching() -> None:
    work = same_prefix(blocks=15)
    assert "prompt_caching" in recommended(same_prefix(blocks=80), rule=STRICT)
    assert recommended(work, rule=STRICT) == {}


def test_calls_farther_apart_than_the_time_to_live_yield_no_caching() -> None:
    assert recommended(same_prefix(gap_s=400)) == {}


def test_one_repetition_does_not_pay_for_the_write_of_many() -> None:
    work = Workload()
    for number in range(6):
        run = work.run(number * 1000)
        work.call(
            run,
            number * 1000,
            1,
            blocks=range(100 * number, 100 * number + 100),
            input_fresh=6400,
            cache_read=0,
            output=0,
        )
    assert recommended(work) == {}


def test_a_provider_that_caches_unasked_needs_no_advice_to_turn_it_on() -> None:
    assert "prompt_caching" not in recommended(same_prefix(), rule=AUTOMATIC)


def test_where_the_trace_does_not_say_what_was_cached_the_low_figure_is_nothing() -> None:
    found = recommended(same_prefix(read=None))["prompt_caching"]
    assert found.saving_usd.low == 0 < found.saving_usd.mid
    assert found.confidence == "estimated"


def test_agents_that_cache_already_are_left_alone() -> None:
    work = Workload()
    run = work.run()
    work.call(run, 0, 5, blocks=range(100), input_fresh=0, cache_write_5m=6400, cache_read=0, output=0)
    for turn in range(1, 5):
        work.call(run, turn * 10, 5, blocks=range(100), input_fresh=0, cache_read=6400, output=0)
    assert "prompt_caching" not in recommended(work)


def paused(gap_s: float) -> Workload:
    """Return a session that writes 6,400 tokens, pauses, and has to write them again, four times."""
    work = Workload()
    for turn in range(4):
        run = work.run(turn * gap_s, session="s")
        work.call(run, turn * gap_s, 5, input_fresh=0, cache_read=0, cache_write_5m=6400, output=0)
    return work


def test_an_hours_cache_saves_the_writes_after_pauses() -> None:
    found = recommended(paused(600))["cache_1h"]
    assert found.saving_usd.mid == (4 * 6400 * Decimal("12.5") - (6400 * 20 + 3 * 6400)) / M
    assert "cache_5m" in found.exclusive_with


@pytest.mark.parametrize("gap_s", [100, 4000])
def test_an_hours_cache_is_not_recommended_for_short_or_endless_pauses(gap_s: float) -> None:
    assert "cache_1h" not in recommended(paused(gap_s))


def test_five_minutes_are_enough_where_calls_follow_quickly() -> None:
    work = Workload()
    run = work.run(session="s")
    work.call(run, 0, 5, input_fresh=0, cache_read=0, cache_write_1h=6400, output=0)
    for turn in range(1, 4):
        work.call(run, turn * 60, 5, input_fresh=0, cache_read=6400, cache_write_1h=640, output=0)
    found = recommended(work)["cache_5m"]
    assert found.saving_usd.mid == (6400 + 3 * 640) * (20 - Decimal("12.5")) / M


def with_large_result() -> Workload:
    """Return a run whose tool brings 10,000 tokens that three later calls carry, the first as fresh input."""
    work = Workload()
    run = work.run()
    work.call(run, 0, 5, input_fresh=1000, cache_read=0, output=0)
    work.tool(run, 5, 1, result_tokens=10_000)
    work.call(run, 6, 5, input_fresh=10_000, cache_read=1000, output=0)
    work.call(run, 12, 5, input_fresh=100, cache_read=11_000, output=0)
    work.call(run, 18, 5, input_fresh=100, cache_read=11_100, output=0)
    return work


def test_cutting_a_tool_result_saves_it_fresh_once_and_as_reads_after() -> None:
    found = recommended(with_large_result())["truncate_tool_results"]
    cut = {cap: 10_000 - cap for cap in (8000, 4000, 2000)}
    expected = {cap: (tokens * 10 + 2 * tokens * 1) / M for cap, tokens in cut.items()}
    assert (found.saving_usd.low, found.saving_usd.mid, found.saving_usd.high) == (
        *(expected[8000], expected[4000], expected[2000]),
    )


def test_unused_schemas_are_taken_out_at_the_price_they_were_paid() -> None:
    work = Workload()
    run = work.run()
    for turn in range(2):
        offered = {"tools_offered": [ToolOffered("read", 300), ToolOffered("never", 700)]}
        work.call(run, turn * 10, 5, input_fresh=2000, cache_read=0, output=0, inference=offered)
        work.tool(run, turn * 10 + 5, 1, name="read", fingerprint=str(turn))
    found = recommended(work)["drop_unused_tools"]
    assert found.saving_usd.mid == 2 * 700 * 10 / M
    assert found.calls == 2


def looping(repeats: int) -> Workload:
    work = Workload()
    run = work.run()
    for turn in range(repeats):
        work.call(run, turn * 10, 5, input_fresh=1000, cache_read=0, output=0)
        work.tool(run, turn * 10 + 5, 1, fingerprint="same")
    return work


def test_a_loop_costs_the_calls_that_repeat_it() -> None:
    found = recommended(looping(5))["stop_loops"]
    assert found.saving_usd.mid == 4 * 1000 * 10 / M
    assert found.saving_usd.low == found.saving_usd.mid / 2


def test_equal_calls_side_by_side_are_fan_out_and_no_loop() -> None:
    work = Workload()
    run = work.run()
    work.call(run, 0, 5, input_fresh=1000, cache_read=0, output=0)
    for _ in range(4):
        work.tool(run, 5, 10, fingerprint="same")
    assert "stop_loops" not in recommended(work)


def small_calls() -> Workload:
    work = Workload()
    for number in range(10):
        work.call(work.run(number * 10, success=number < 4), number * 10, 1, input_fresh=1000, cache_read=0, output=10)
    work.call(work.run(200), 200, 1, model="small", input_fresh=5000, cache_read=0, output=500)
    return work


def test_small_work_goes_to_the_cheaper_model_in_use_with_its_sensitivity() -> None:
    found = recommended(small_calls())["smaller_model"]
    large, small = 10 * (1000 * 10 + 10 * 50) / M, 10 * (1000 * 1 + 10 * 5) / M
    assert found.saving_usd.high == large - small
    assert found.saving_usd.mid == large - small - large * Decimal("0.1")
    assert found.saving_usd.low == large - small - large * Decimal("0.25")
    assert any("10 of the runs" in condition for condition in found.preconditions)


def test_no_smaller_model_is_invented_where_none_is_in_use() -> None:
    work = small_calls()
    work.rows.pop()
    assert "smaller_model" not in recommended(work)


@pytest.mark.parametrize(("other", "is_proposed"), [("gpt-4o-mini", False), ("claude-3-5-haiku-20241022", True)])
def test_a_smaller_model_is_of_the_same_vendor_where_spans_name_no_provider(other: str, is_proposed: bool) -> None:
    work = Workload()
    work.prices = load_prices()
    for number in range(10):
        run = work.run(number * 10)
        work.call(run, number * 10, 1, model="claude-opus-4-1-20250805", input_fresh=1000, cache_read=0, output=10)
    work.call(work.run(200), 200, 1, model=other, input_fresh=5000, cache_read=0, output=500)
    for row in work.rows:
        row.inference.provider = None
    assert ("smaller_model" in recommended(work)) is is_proposed


def test_single_evaluation_calls_can_be_batched_at_half_price() -> None:
    work = Workload()
    for number in range(4):
        work.call(work.run(number, purpose=Purpose.EVALUATE), number, 1, input_fresh=10_000, cache_read=0, output=0)
    work.call(work.run(9, purpose=Purpose.SERVE), 9, 1, input_fresh=10_000, cache_read=0, output=0)
    found = recommended(work)["batch"]
    assert found.saving_usd.mid == 4 * 10_000 * 10 / M / 2
    assert found.calls == 4


def test_evaluations_in_turns_take_the_flex_tier_and_not_the_batch() -> None:
    work = Workload()
    run = work.run(purpose=Purpose.EVALUATE)
    for turn in range(3):
        work.call(run, turn * 10, 5, input_fresh=10_000, cache_read=0, output=0)
    found = recommended(work)
    assert "batch" not in found
    assert found["flex"].saving_usd.mid == 3 * 10_000 * 10 / M / 2


def growing_results(steps: int = 12, each: int = 10_000, *, cached: bool = False) -> Workload:
    """Return a conversation whose tool results pile up."""
    work = Workload()
    run = work.run()
    for turn in range(steps):
        results = turn * each
        composition = Composition(system=1000, tools=0, history=0, tool_results=results, user=0)
        fresh = 1000 + results if not cached or not turn else each
        read = 1000 + results - fresh
        made = {"composition": composition}
        work.call(run, turn * 10, 5, input_fresh=fresh, cache_read=read, output=0, inference=made)
    return work


def cleared_tokens(steps: int = 12, each: int = 10_000) -> list[int]:
    """Return what is gone from each call once old results are cleared in steps."""
    gone, found = 0, []
    for turn in range(steps):
        if turn * each - gone - KEPT_RESULT_TOKENS["mid"] >= CLEARING_STEP_TOKENS:
            gone = turn * each - KEPT_RESULT_TOKENS["mid"]
        found.append(gone)
    return found


def test_clearing_old_results_saves_what_is_carried_no_more() -> None:
    found = recommended(growing_results())["clear_old_results"]
    assert found.saving_usd.mid == sum(cleared_tokens()) * 10 / M
    assert found.saving_usd.low < found.saving_usd.mid < found.saving_usd.high


def test_clearing_is_not_recommended_where_writing_the_prefix_again_costs_more() -> None:
    assert "clear_old_results" not in recommended(growing_results(cached=True))


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


def without_hashes(*inputs: int, gap_s: float = 10) -> Workload:
    """Return one conversation whose calls say how long they are and nothing of what they hold."""
    work = Workload()
    run = work.run()
    for turn, tokens in enumerate(inputs):
        work.call(run, turn * gap_s, 5, input_fresh=tokens, cache_read=0, output=0)
    return work


def test_a_context_that_grows_is_estimated_where_no_hashes_are() -> None:
    work = without_hashes(6400, 7500, 8700, 8700)
    found = recommended(work)["prompt_caching"]
    # whole blocks of 1,024 tokens of the input before: 6, 7, 8 of them are read, and the growth is written
    written, read = 6 * 1024 + 1024 + 1024, (6 + 7 + 8) * 1024
    assert found.saving_usd.mid == (read * 9 - written * Decimal("2.5")) / M
    assert found.saving_usd.high >= found.saving_usd.mid
    assert found.saving_usd.low == 0
    assert found.confidence == "estimated"
    assert any("4 calls carry no prefix hashes" in condition for condition in found.preconditions)


@pytest.mark.parametrize(
    "work",
    [
        without_hashes(9000, 6400, 3000),
        without_hashes(6400, 6400, gap_s=600),
        without_hashes(900, 1000, 1020),
        without_hashes(6400),
    ],
    ids=["shrinks", "pauses", "below a block", "alone"],
)
def test_nothing_is_estimated_where_contexts_do_not_grow_within_a_caches_life(work: Workload) -> None:
    assert "prompt_caching" not in recommended(work)


def test_conversations_without_hashes_are_taken_to_share_nothing() -> None:
    work = Workload()
    for number in range(4):
        work.call(work.run(number * 10), number * 10, 5, input_fresh=6400, cache_read=0, output=0)
    assert "prompt_caching" not in recommended(work)


def test_calls_that_state_their_own_prefix_are_not_estimated_over() -> None:
    found = recommended(same_prefix())["prompt_caching"]
    assert found.confidence == "recount"
    assert not any("no prefix hashes" in condition for condition in found.preconditions)


def test_an_agent_that_caches_already_is_not_estimated_over() -> None:
    work = without_hashes(6400, 7500, 8700)
    work.call(work.runs[0], 40, 5, input_fresh=100, cache_read=8700, output=0)
    assert "prompt_caching" not in recommended(work)
