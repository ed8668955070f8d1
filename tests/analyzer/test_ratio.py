"""Inference against training: bases apart, undefined without training, parity and break-even in closed form."""

from __future__ import annotations

import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferometer.analyzer.ledger import Ledger, PublishedRun, load_ledger
from inferometer.analyzer.ratio import Range, TrainingCost, accumulated, days_until, ratio, training_cost
from inferometer.schema.errors import ProfileError
from inferometer.schema.records import Purpose
from inferometer.testing.workload import Workload

DAY = 86_400


def published(run: PublishedRun) -> TrainingCost:
    return TrainingCost(Decimal(1000) * run.share, Decimal("1e21"))


def ledger(text: str, folder: Path) -> Ledger:
    path = folder / "ledger.toml"
    path.write_text(text)
    return load_ledger(path)


def audited(work: Workload, stated: Ledger, **more: Any) -> dict[str, Any]:
    return ratio(work.dataset(), stated, published=published, params_active=more.pop("params", lambda _: None), **more)


def ten_days(purpose: Purpose | None = None) -> Workload:
    """Return a workload of 10 dollars a day over ten days."""
    work = Workload()
    for day in range(11):
        run = work.run(day * DAY, purpose=purpose)
        if day < 10:
            work.call(run, day * DAY, 1, input_fresh=1_000_000, output=0)
        else:
            work.call(run, day * DAY - 1, 1, input_fresh=0, output=0)
    return work


def test_without_training_the_ratio_is_undefined_and_not_infinite() -> None:
    found = audited(ten_days(), Ledger())
    assert found["billed_usd"]["ratio"] is None
    assert "no training stated" in found["billed_usd"]["reason"]
    assert found["break_even_date"] is None
    assert found["by_horizon"] == []


def test_break_even_and_ratio_in_closed_form(tmp_path: Path) -> None:
    stated = ledger(
        '[training]\nlifetime_days = 365\n[[training.run]]\nname = "a"\nusd = 730\n[inference]\nhorizon_days = 73\n',
        tmp_path,
    )
    found = audited(ten_days(), stated)
    # ten dollars a day: 730 after 73 days, against a fifth of the training
    assert found["break_even_days"] == pytest.approx(73)
    assert found["break_even_date"] == "2026-08-09"
    assert found["billed_usd"]["ratio"]["mid"] == pytest.approx(5)
    assert found["billed_usd"]["ratio"]["low"] < 5 < found["billed_usd"]["ratio"]["high"]
    assert found["billed_usd"]["parity_tokens"] == pytest.approx(73e6)


def test_amortised_by_use_the_ratio_does_not_depend_on_the_horizon(tmp_path: Path) -> None:
    text = (
        "[training]\nlifetime_days = 100\namortise = 'use'\n[[training.run]]\nname = 'a'\nusd = 500\n"
        "[inference]\nhorizon_days = {}\n"
    )
    values = [
        audited(ten_days(), ledger(text.format(days), tmp_path))["billed_usd"]["ratio"]["mid"] for days in (10, 50, 100)
    ]
    assert values == pytest.approx([2, 2, 2])


def test_the_research_multiplier_widens_and_lowers_the_ratio(tmp_path: Path) -> None:
    stated = ledger('[training]\nresearch_multiplier = [2, 8]\n[[training.run]]\nname = "a"\nusd = 730\n', tmp_path)
    found = audited(ten_days(), stated)
    assert found["with_research_multiplier"]["ratio"]["mid"] == pytest.approx(found["billed_usd"]["ratio"]["mid"] / 4)


def test_calls_made_to_train_are_training_and_not_inference() -> None:
    work = ten_days()
    run = work.run(0, purpose=Purpose.TRAIN)
    work.call(run, 0, input_fresh=10_000_000, output=0)
    found = audited(work, Ledger())
    assert found["by_purpose"]["train"]["cost_usd"] == 100
    assert found["billed_usd"]["training"] == 100
    assert float(found["billed_usd"]["inference_per_day"]["mid"]) == pytest.approx(10)


def test_flop_counts_fresh_and_output_tokens_of_open_models_only(tmp_path: Path) -> None:
    work = Workload()
    for day in (0, 1):
        work.call(work.run(day * DAY), day * DAY, 0, input_fresh=100, cache_read=900, output=50)
    stated = ledger('[training]\n[[training.run]]\nname = "a"\nusd = 1\nflop = 3e11\n', tmp_path)
    found = audited(work, stated, params=lambda _: 1e9)
    assert found["flop"]["inference_per_day"]["mid"] == pytest.approx(2 * 2 * 1e9 * 150)
    assert found["flop"]["unit"] == "FLOP"
    closed = audited(work, stated)
    assert closed["flop"]["ratio"] is None
    assert "closed" in closed["flop"]["reason"]


def test_own_hardware_is_a_basis_of_its_own(tmp_path: Path) -> None:
    stated = ledger('[training]\n[[training.run]]\nname = "a"\nusd = 365\n', tmp_path)
    found = audited(ten_days(), stated, own_hardware_usd_per_day=Range(1.0, 1.0, 1.0))
    assert found["own_hardware_usd"]["ratio"]["mid"] == pytest.approx(1)
    assert found["billed_usd"]["ratio"]["mid"] == pytest.approx(10)
    assert audited(ten_days(), stated)["own_hardware_usd"]["ratio"] is None


def test_undated_calls_have_no_rate() -> None:
    work = ten_days()
    for row in work.rows:
        row.placement.start_ns = 5
        row.placement.end_ns = 6
    assert audited(work, Ledger())["billed_usd"]["inference_per_day"] is None


@pytest.mark.parametrize("growth", [-0.2, 0.0, 0.3])
def test_days_until_inverts_accumulation(growth: float) -> None:
    total = accumulated(10, growth, 90)
    assert days_until(total, 10, growth) == pytest.approx(90)


def test_a_shrinking_rate_may_never_reach_parity() -> None:
    assert days_until(1e9, 1, -0.5) is None


def test_growth_is_compound(tmp_path: Path) -> None:
    month = 30.4375
    assert accumulated(1, 1.0, month) == pytest.approx(month / math.log(2))


def test_training_adds_runs_jobs_rollouts_data_and_staff(tmp_path: Path) -> None:
    stated = ledger(
        """
        [training]
        failed_run_multiplier = 2
        data_usd = 5
        staff_usd = 7
        [[training.run]]
        name = "hours"
        gpu_hours = 10
        usd_per_gpu_hour = 2.5
        share = 0.5
        [[training.run]]
        name = "flop"
        params_active = 1e9
        tokens = 6e12
        peak_flops_per_gpu = 1e15
        mfu = 0.5
        usd_per_gpu_hour = 1
        [[training.fine_tune]]
        name = "job"
        tokens = 2_000_000
        epochs = 3
        usd_per_mtok = 25
        [[training.rl]]
        name = "rl"
        update_gpu_hours = 1
        rollout_gpu_hours = 3
        usd_per_gpu_hour = 2
        rollout_usd = 4
        [[training.published]]
        model = "open"
        """,
        tmp_path,
    )
    flop_hours = Decimal("3.6e22") / (Decimal("5e14") * 3600)
    compute = Decimal("12.5") + flop_hours + 12 + 1000
    cost = training_cost(stated, published)
    assert cost is not None
    assert cost.cost_usd == pytest.approx(compute * 2 + 150 + 12)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[training]\n[[training.run]]\nname = 'a'\nusd = -1\n", "training.run[0].usd"),
        ("[training]\ncost = 5\n", "an amount names its unit"),
        ("[training]\n[[training.run]]\nname = 'a'\ngpu_hours = 5\n", "usd_per_gpu_hour"),
        ("[development]\nusd_per_month = '5k'\n", "development.usd_per_month"),
        ("currency = 'EUR'\n[development]\nusd_per_month = 5\n", "usd_per_unit"),
        ("[training\n", "is not TOML"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("[inference]\ngrowth_per_month = 0.1\ngrowth_per_month_high = 0.05\n", "growth_per_month_low"),
    ],
)
def test_a_broken_ledger_is_refused_in_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ProfileError) as caught:
        ledger(text, tmp_path)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_currency_is_turned_into_dollars_by_its_rate(tmp_path: Path) -> None:
    stated = ledger(
        "currency = 'EUR'\nusd_per_unit = 1.5\n[development]\nusd_per_month = 10\n[training]\nstaff_usd = 4\n", tmp_path
    )
    assert stated.development is not None
    assert stated.training is not None
    assert (stated.development.usd_per_month, stated.training.staff_usd) == (15, 6)


def test_a_missing_ledger_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="no such file"):
        load_ledger(tmp_path / "none.toml")


def test_rates_say_what_they_rest_on_and_leave_out(tmp_path: Path) -> None:
    work = ten_days()
    work.call(work.run(0), DAY, 1, model="nobody", input_fresh=5, output=1)
    undated = work.run(0)
    work.call(undated, 0, 1, input_fresh=3_000_000, output=0)
    work.rows[-1].placement.start_ns = work.rows[-1].placement.end_ns = 5
    stated = ledger('[training]\n[[training.run]]\nname = "a"\nusd = 365\n', tmp_path)
    found = audited(work, stated)
    rests = found["rests_on"]
    assert (rests["inferences"], rests["cost_usd"], rests["unpriced"]) == (12, 100, 1)
    assert (rests["undated"], rests["undated_cost_usd"]) == (1, 30)
    assert found["billed_usd"]["ratio"]["mid"] == pytest.approx(10)


def test_own_hardware_is_that_of_the_calls_the_rates_rest_on_and_as_wide_as_its_price(tmp_path: Path) -> None:
    work = ten_days()
    work.call(work.run(0), 0, 1, input_fresh=10_000_000, output=0)
    work.rows[-1].placement.start_ns = work.rows[-1].placement.end_ns = 5
    stated = ledger('[training]\n[[training.run]]\nname = "a"\nusd = 365\n', tmp_path)
    wide = audited(work, stated, own_hardware_usd_per_day=Range(1.0, 2.0, 20.0))["own_hardware_usd"]
    # half of the tokens carry no date, so half of what the replay of all calls costs a day
    assert float(wide["inference_per_day"]["mid"]) == pytest.approx(1)
    narrow = audited(work, stated, own_hardware_usd_per_day=Range(2.0, 2.0, 2.0))["own_hardware_usd"]
    assert wide["ratio"]["low"] == pytest.approx(narrow["ratio"]["low"] / 2)
    assert wide["ratio"]["high"] == pytest.approx(narrow["ratio"]["high"] * 10)


def test_flop_has_an_interval_though_nothing_is_priced(tmp_path: Path) -> None:
    work = Workload()
    for day in range(10):
        work.call(work.run(day * DAY), day * DAY, 0, model="open", input_fresh=100, output=50)
    stated = ledger('[training]\n[[training.run]]\nname = "a"\nusd = 1\nflop = 3e11\n', tmp_path)
    found = audited(work, stated, params=lambda _: 1e9)
    assert found["billed_usd"]["ratio"] is None
    assert found["flop"]["ratio"]["low"] < found["flop"]["ratio"]["mid"] < found["flop"]["ratio"]["high"]
