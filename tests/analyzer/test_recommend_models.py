"""Work sent elsewhere: a smaller model, batches, the flex tier."""

from __future__ import annotations

from decimal import Decimal

import pytest
from tests.analyzer.recommending import (
    M,
    evaluation_in_turns,
    lone_evaluations,
    recommended,
    small_calls,
)

from inferometer.profiles.prices import load_prices
from inferometer.testing.workload import Workload


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
    found = recommended(lone_evaluations())["batch"]
    assert found.saving_usd.mid == 4 * 10_000 * 10 / M / 2
    assert found.calls == 4


def test_evaluations_in_turns_take_the_flex_tier_and_not_the_batch() -> None:
    found = recommended(evaluation_in_turns())
    assert "batch" not in found
    assert found["flex"].saving_usd.mid == 3 * 10_000 * 10 / M / 2
