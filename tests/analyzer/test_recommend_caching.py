"""Caching: what writes cost, what reads save, and what the provider's rules allow."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.analyzer.recommending import (
    AUTOMATIC,
    STRICT,
    M,
    paused,
    recommended,
    same_prefix,
    without_hashes,
)

from inferometer.testing.workload import Workload


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
