"""Electricity: the replay that takes least, by the user's own price of a kilowatt-hour."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from inferometer.analyzer.audit import Replayed
from inferometer.analyzer.audit_scenarios import replay_audit
from inferometer.analyzer.ledger import Electricity, Ledger, load_ledger
from inferometer.analyzer.recommend import Recommendation
from inferometer.analyzer.recommend_energy import ENERGY
from inferometer.schema.errors import ProfileError
from inferometer.testing.workload import Workload

OPEN = "meta-llama/Llama-3.1-70B"
PAID = Ledger(electricity=Electricity(usd_per_kwh=Decimal("0.25"), gco2e_per_kwh=Decimal(50)))


def audited(ledger: Ledger, provider: str = "vllm") -> Replayed:
    work = Workload()
    for number in range(8):
        run = work.run(number * 20)
        for turn in range(3):
            at_s = number * 20 + turn * 15
            work.call(run, at_s, 10, model=OPEN, provider=provider, input_fresh=4_000, cache_read=0, output=300)
    return replay_audit(work.dataset(), ledger)


def advice(found: Replayed) -> Recommendation | None:
    return next((one for one in found.recommendations if one.id == "less_electricity"), None)


def test_the_least_electricity_is_the_least_of_all_replays_at_the_users_price() -> None:
    replayed = audited(PAID)
    found = advice(replayed)
    assert found is not None
    rows = {row["id"]: row for row in replayed.scenarios}
    base = rows["hardware-h100_sxm"]["energy_kwh"]
    able = [row for row in rows.values() if row["energy_kwh"] is not None and not sum(row["refused"].values())]
    least = min(row["energy_kwh"] for row in able)
    assert float(found.saving_usd.mid) == pytest.approx((base - least) * 0.25)
    assert found.saving_share == pytest.approx(1 - least / base)
    assert found.details["kwh"] == pytest.approx({"before": base, "after": least, "saved": base - least})
    assert found.details["gco2e"]["saved"] == pytest.approx((base - least) * 50)
    assert 0 < found.saving_usd.low <= found.saving_usd.mid <= found.saving_usd.high
    assert found.cash_usd == found.saving_usd


def test_electricity_is_not_counted_again_beside_hardware_by_the_hour() -> None:
    together = audited(PAID).serving_set
    assert together is not None
    assert "less_electricity" not in together.ids
    assert together.left_out["less_electricity"] == ENERGY


def test_who_does_not_pay_for_electricity_is_told_nothing_of_its_price() -> None:
    assert advice(audited(Ledger())) is None
    assert advice(audited(PAID, provider="acme")) is None


def test_where_the_grid_is_not_stated_carbon_is_that_of_the_scenario() -> None:
    found = advice(audited(Ledger(electricity=Electricity(usd_per_kwh=Decimal("0.1")))))
    assert found is not None
    assert found.details["gco2e"]["saved"] == pytest.approx(found.details["kwh"]["saved"] * 369)


def test_a_ledger_states_electricity_in_its_own_currency(tmp_path: Path) -> None:
    path = tmp_path / "ledger.toml"
    path.write_text('currency = "EUR"\nusd_per_unit = 1.1\n[electricity]\nusd_per_kwh = 0.2\ngco2e_per_kwh = 380\n')
    stated = load_ledger(path).electricity
    assert stated == Electricity(usd_per_kwh=Decimal("0.22"), gco2e_per_kwh=Decimal(380))
    path.write_text("[electricity]\nusd_per_kwh = -1\n")
    with pytest.raises(ProfileError, match=r"electricity\.usd_per_kwh"):
        load_ledger(path)
