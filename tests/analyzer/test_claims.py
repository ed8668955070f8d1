"""Industry claims: each beside the user's own figure on its own unit, or not comparable and why."""

from __future__ import annotations

from typing import Any

import pytest

from inferometer.analyzer.claims import MEASURES, Measured, OwnFigures, claims
from inferometer.analyzer.ledger import Ledger, Monthly
from inferometer.profiles.claims import list_claims

UNKNOWN = dict.fromkeys(("p50", "p90", "p99", "mean", "max"))


def figures(**stated: Any) -> OwnFigures:
    basis = {"inference_share": None, "training": None, "inference_per_day": None, "reason": "no training stated"}
    values: dict[str, Any] = {
        "fanout": {"inferences_per_run": UNKNOWN},
        "ratio": {"billed_usd": basis, "horizon_days": 365},
        "ledger": Ledger(),
        "scenarios": [],
        "roofline": None,
        "utilisation": None,
        "bytes_per_token": {},
    }
    return OwnFigures(**(values | stated))


def row(hardware: str, shared: str | None, tpot_s: float | None) -> dict[str, Any]:
    return {
        "kind": "hardware",
        "scenario": {"hardware": hardware},
        "cost_usd_by_basis": {"shared": shared},
        "tpot_s": {"p50": tpot_s},
        "confidence": "family",
    }


def measured(name: str, **stated: Any) -> Measured:
    return MEASURES[name](figures(**stated))


@pytest.mark.parametrize("name", MEASURES)
def test_what_is_missing_is_named_and_not_guessed(name: str) -> None:
    found = measured(name)
    assert found.value is None
    assert not found.comparable
    assert found.note.startswith("not comparable: ")
    assert len(found.note) > len("not comparable: ") + 10


def test_every_claim_carries_status_source_unit_and_scope() -> None:
    rows = claims(list_claims().values(), figures())
    assert {row["id"] for row in rows} == set(MEASURES)
    for found in rows:
        assert all(found[key] for key in ("claim", "claimed", "status", "source", "unit", "scope")), found["id"]
        assert "same" not in found["scope"].split(":")[0].split()


def test_a_cost_reduction_is_a_share_and_a_speed_a_factor() -> None:
    rows = [row("tpu_v6e", "60", 0.02), row("h100_sxm", "100", 0.02)]
    assert measured("trillium_30_70", scenarios=rows).value == pytest.approx(0.4)
    rows = [row("cerebras_cs3", "900", 0.001), row("b200_sxm", "100", 0.018)]
    assert measured("sram_100x", scenarios=rows).value == pytest.approx(18)
    rows = [row("sambanova_sn50", None, 0.009), row("b200_sxm", "100", 0.018)]
    found = measured("sn50_5x", scenarios=rows)
    assert found.value == {"times faster": pytest.approx(2)}
    assert "not measured" in found.note


def test_memory_bound_is_said_in_flop_per_byte_against_the_ridge() -> None:
    roofline = {
        "model": "m",
        "precision": "fp8",
        "machines": [{"name": "H100", "ridge_flop_per_byte": 591.0}],
        "points": [{"name": "decode, 8 at once", "flop_per_byte": 10.7}],
    }
    found = measured("decode_membound", roofline=roofline)
    assert found.value == {"decode, 8 at once": 10.7, "ridge": 591.0}
    assert list_claims()["decode_membound"].unit == "flop/byte"


def test_the_share_of_a_budget_takes_inference_at_its_dated_rate() -> None:
    basis = {"inference_share": None, "training": None, "inference_per_day": {"mid": 10.0}, "reason": None}
    found = measured(
        "enterprise_85",
        ratio={"billed_usd": basis, "horizon_days": 365},
        ledger=Ledger(platform=Monthly(usd_per_month=304.375)),
    )
    assert found.value == pytest.approx(0.5)
