"""Shorter inputs: tool results, schemas, loops."""

from __future__ import annotations

from tests.analyzer.recommending import (
    M,
    growing_results,
    looping,
    offering_unused,
    recommended,
    unmarked_results,
    with_large_result,
)

from inferometer.analyzer.recommend_context import CLEARING_STEP_TOKENS, KEPT_RESULT_TOKENS, results_held
from inferometer.testing.workload import Workload


def test_cutting_a_tool_result_saves_it_fresh_once_and_as_reads_after() -> None:
    found = recommended(with_large_result())["truncate_tool_results"]
    cut = {cap: 10_000 - cap for cap in (8000, 4000, 2000)}
    expected = {cap: (tokens * 10 + 2 * tokens * 1) / M for cap, tokens in cut.items()}
    assert (found.saving_usd.low, found.saving_usd.mid, found.saving_usd.high) == (
        *(expected[8000], expected[4000], expected[2000]),
    )


def test_unused_schemas_are_taken_out_at_the_price_they_were_paid() -> None:
    found = recommended(offering_unused())["drop_unused_tools"]
    assert found.saving_usd.mid == 2 * 700 * 10 / M
    assert found.calls == 2


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


def cleared_tokens(level: str = "mid", steps: int = 12, each: int = 10_000) -> list[int]:
    """Return what is gone from each call once old results are cleared in steps."""
    gone, found = 0, []
    for turn in range(steps):
        if turn * each - gone - KEPT_RESULT_TOKENS[level] >= CLEARING_STEP_TOKENS:
            gone = turn * each - KEPT_RESULT_TOKENS[level]
        found.append(gone)
    return found


def test_clearing_old_results_saves_what_is_carried_no_more() -> None:
    found = recommended(growing_results())["clear_old_results"]
    assert found.saving_usd.mid == sum(cleared_tokens()) * 10 / M
    assert found.saving_usd.low < found.saving_usd.mid < found.saving_usd.high


def test_clearing_is_not_recommended_where_writing_the_prefix_again_costs_more() -> None:
    assert "clear_old_results" not in recommended(growing_results(cached=True))


def test_results_that_no_composition_names_are_taken_from_the_tools_and_the_low_figure_leaves_them_out() -> None:
    found = recommended(unmarked_results())["clear_old_results"]
    # the whole input is fresh: what is cleared saves its own price, and nothing has to be written again
    assert found.saving_usd.mid == sum(cleared_tokens()) * 10 / M
    assert found.saving_usd.high == sum(cleared_tokens("high")) * 10 / M
    assert found.saving_usd.low == 0
    assert found.confidence == "estimated, behaviour held fixed"
    assert any(
        condition.startswith("11 calls do not say what the input is made of") for condition in found.preconditions
    )


def test_no_more_results_are_held_than_the_input_grew() -> None:
    work = Workload()
    run = work.run()
    for turn, tokens in enumerate((30_000, 30_500, 31_000, 90_000, 12_000, 13_000)):
        work.call(run, turn * 10, 5, input_fresh=tokens, cache_read=0, output=0)
        work.tool(run, turn * 10 + 5, 1, result_tokens=25_000, fingerprint=str(turn))
    held = list(results_held(work.dataset()).values())
    # after the context was cut to less than half, what is left of old results is not known, and not counted
    assert held == [500, 1000, 60_000, 1000]
    assert "clear_old_results" not in recommended(unmarked_results(steps=3))


def test_the_results_of_another_agent_are_not_in_the_input() -> None:
    work = unmarked_results()
    for tool in work.tools:
        tool.placement.agent_name = "another"
    assert results_held(work.dataset()) == {}
