"""What replayed hardware costs, on each basis and to each tenant."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analyzer.agents import H100

from inferometer.analyzer.replay import Arrivals, Payment, ReplayResult, replay
from inferometer.analyzer.replay_cost import Use, bill, hourly_price
from inferometer.analyzer.workload import Workload
from inferometer.profiles.hardware import load_hardware


def test_hardware_is_billed_in_whole_rental_units(result: ReplayResult) -> None:
    answer = result.as_dict()
    assert answer["makespan_s"] < 3600
    assert answer["billed_hours"] == 4.0
    price = hourly_price(load_hardware("h100_sxm"), 4, Payment())
    assert price is not None
    assert answer["cost_usd_by_basis"]["dedicated"] == price.usd.mid.quantize(Decimal("0.000001"))
    finer = replay(result.workload, replace(H100, payment=Payment(rental_unit_h=1 / 60))).as_dict()
    assert finer["billed_hours"] == pytest.approx(4 * -(-answer["makespan_s"] // 60) / 60)


def test_bases_differ_as_defined(result: ReplayResult) -> None:
    answer = result.as_dict()
    costs = answer["cost_usd_by_basis"]
    assert costs["shared"] == pytest.approx(costs["pay_per_use"] / Decimal("0.3"), abs=Decimal("0.00001"))
    assert sum(answer["bill_shares_usd"].values()) == costs["dedicated"]
    assert answer["break_even_utilisation"] == pytest.approx(
        float(costs["pay_per_use"] / answer["recorded"]["cost_usd"]), rel=1e-4
    )
    for spread in answer["cost_usd_range_by_basis"].values():
        assert spread["low"] <= spread["mid"] <= spread["high"]


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0, 1e6), st.integers(1, 64), st.sampled_from((1 / 60, 1.0, 24.0))
)
def test_shares_of_all_tenants_and_idle_sum_to_the_bill(
    own: float, others: float, idle: float, replicas: int, unit: float
) -> None:
    makespan = (own + others + idle) / replicas
    price = hourly_price(load_hardware("h100_sxm"), replicas, Payment())
    assert price is not None
    use = Use((own,) * 3, (others,) * 3, (makespan,) * 3, replicas)
    found = bill(price, use, Payment(rental_unit_h=unit), None)
    assert sum(found.shares_usd.values()) == found.by_basis["dedicated"].mid.quantize(Decimal("0.000001"))
    assert all(share >= Decimal("-0.000001") for share in found.shares_usd.values())


@pytest.mark.parametrize(
    "arrivals", [Arrivals(scale=10.0), Arrivals(idle_cap_s=1.0), Arrivals(open_loop=True)], ids=str
)
def test_no_cost_is_told_from_compressed_time(workload: Workload, arrivals: Arrivals) -> None:
    answer = replay(workload, replace(H100, arrivals=arrivals)).as_dict()
    assert answer["cost_usd"] == {"low": None, "mid": None, "high": None}
    assert (answer["billed_hours"], answer["energy_kwh"], answer["cost_usd_per_mtok_output"]) == (None, None, None)
    assert answer["warnings"]["no_cost_on_compressed_time"] == 1
    assert answer["ttft_s"]["p50"] > 0


def test_prices_are_paid_in_the_providers_unit() -> None:
    price = hourly_price(load_hardware("h100_sxm"), 4, Payment())
    assert price is not None
    assert price.usd.low == Decimal("9.6")  # Vast by the chip
    assert price.usd.high == Decimal("98.32")  # Azure by the eight
    given_price = hourly_price(load_hardware("h100_sxm"), 4, Payment(usd_per_chip_hour=Decimal("2")))
    assert given_price is not None
    assert given_price.usd.mid == 8


def test_machine_that_nobody_rents_is_written_off() -> None:
    groq = load_hardware("groq_lpu")
    price = hourly_price(groq, 576, Payment())
    assert price is not None
    assert price.billed_chips == 576
    assert float(price.usd.mid) == pytest.approx(11_520_000 / (4 * 8766) * 1.25)
