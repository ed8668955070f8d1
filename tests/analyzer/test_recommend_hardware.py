"""Ways of paying for machines: savings that follow from hours and prices alone."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferometer.analyzer.audit import Replayed
from inferometer.analyzer.audit_scenarios import replay_audit
from inferometer.analyzer.ledger import Ledger, Reserved
from inferometer.analyzer.recommend import BestSet, Recommendation, recommend
from inferometer.analyzer.replay import Payment
from inferometer.analyzer.replay_cost import UsdRange, hourly_price
from inferometer.analyzer.waste import CacheRule, Examined
from inferometer.profiles.hardware import load_hardware
from inferometer.schema.records import ToolOffered
from inferometer.testing.workload import LARGE, FlatPrices, Workload

OPEN = "meta-llama/Llama-3.1-70B"
HOURS = 192
DAY = 24


def spread(every_h: int, *, provider: str = "vllm", hours: int = HOURS, output: int = 100) -> Workload:
    """Return single calls of an open model, one at the start of every n-th hour, and one in the last hour."""
    work = Workload(prices=FlatPrices({OPEN: LARGE}))
    for hour in sorted({*range(0, hours, every_h), hours - 1}):
        run = work.run(hour * 3600 + 300)
        at_s = hour * 3600 + 300
        work.call(run, at_s, 5, model=OPEN, provider=provider, input_fresh=10_000, cache_read=0, output=output)
    return work


def audited(work: Workload, ledger: Ledger | None = None) -> Replayed:
    return replay_audit(work.dataset(), ledger or Ledger())


def advice(work: Workload, ledger: Ledger | None = None) -> dict[str, Recommendation]:
    return {one.id: one for one in audited(work, ledger).recommendations}


def hourly(hardware: str, chips: int, basis: str) -> UsdRange:
    price = hourly_price(load_hardware(hardware), chips, Payment(basis=basis))
    assert price is not None
    return price.usd


def reserved(gpus: int, usd: str = "2") -> Ledger:
    return Ledger(reserved=(Reserved(hardware="h100_sxm", gpus=gpus, usd_per_gpu_hour=Decimal(usd)),))


def test_machines_in_use_in_every_hour_are_cheaper_reserved() -> None:
    found = advice(spread(1))["reserve_hardware"]
    chips = found.details["chips"]
    by_the_hour, long = hourly("h100_sxm", chips, "on_demand"), hourly("h100_sxm", chips, "rental_3_years")
    assert (found.details["window_hours"], found.details["active_hours"]) == (HOURS, HOURS)
    assert found.saving_usd.mid == (by_the_hour.mid - long.mid) * HOURS == found.cash_usd.mid
    assert found.saving_usd.low == (by_the_hour.low - long.high) * HOURS
    assert found.details["break_even_share_of_hours"] == pytest.approx(float(long.mid / by_the_hour.mid))


def test_machines_in_use_one_hour_a_day_are_not_reserved() -> None:
    assert "reserve_hardware" not in advice(spread(DAY))


def test_a_day_of_calls_says_nothing_of_a_contract() -> None:
    assert not {"reserve_hardware", "self_host"} & advice(spread(1, hours=DAY)).keys()


def test_reserved_machines_in_use_one_hour_a_day_free_what_the_hours_would_not_cost() -> None:
    found = advice(spread(DAY), reserved(2))["release_reserved"]
    active = HOURS // DAY + 1
    assert found.saving_usd.mid == 2 * 2 * HOURS - hourly("h100_sxm", 2, "on_demand").mid * active
    assert found.freed_capacity_usd == found.saving_usd
    assert found.cash_usd.mid == 0


def test_reserved_machines_in_use_all_day_are_kept() -> None:
    assert not {"release_reserved", "reserve_hardware"} & advice(spread(1), reserved(2)).keys()


def test_idle_replicas_are_freed_down_to_the_one_that_is_as_fast() -> None:
    found = advice(spread(DAY), reserved(8))["consolidate_replicas"]
    # two chips a replica: one of four is enough for one call at a time
    assert (found.details["fleet"], found.details["replicas"]) == (4, 1)
    assert found.saving_usd.mid == 3 * 2 * 2 * HOURS
    assert found.saving_usd.low == 2 * 2 * 2 * HOURS
    assert found.freed_capacity_usd == found.saving_usd


def test_a_single_replica_is_not_consolidated() -> None:
    assert "consolidate_replicas" not in advice(spread(DAY), reserved(2))


def test_an_open_model_is_served_at_home_where_all_hours_cost_less_than_its_bill() -> None:
    work = spread(1, provider="acme", output=1000)
    billed = work.dataset().cost_usd
    assert billed == len(work.rows) * (10_000 * Decimal(10) + 1000 * Decimal(50)) / 1_000_000
    assert "self_host" not in advice(work)
    for row in work.rows:
        row.placement.weight = 100.0
    found = advice(work)["self_host"]
    assert found.details["replicas"] == 1
    assert found.saving_usd.mid == 100 * billed - found.details["usd_per_hour"]["mid"] * HOURS
    for row in work.rows:
        row.placement.weight = 1000.0
    assert advice(work)["self_host"].details["replicas"] > 1
    curve = found.details["curve"]
    at = curve["break_even_utilisation"]
    point = curve["points"][0]
    assert float(point["usd"]) * point["utilisation"] / at == pytest.approx(float(100 * billed))


def on_and_off_the_bill(*, offered: bool = False) -> Workload:
    """Return a week of calls of an open model, and five of a closed one that send the same 6,400 tokens each."""
    work = spread(1, provider="acme", output=1000)
    work.prices = FlatPrices({OPEN: LARGE, "large": LARGE})
    for row in work.rows if offered else []:
        row.inference.tools_offered = [ToolOffered("never", 900)]
    run = work.run(0, agent="other")
    for turn in range(5):
        work.call(run, turn * 10, 5, blocks=range(100), input_fresh=6400, cache_read=0, output=0)
    if offered:
        work.tool(work.runs[0], 310, 1, fingerprint="a")
    for row in work.rows:
        row.placement.weight = 100.0
    return work


def together(work: Workload) -> tuple[dict[str, Recommendation], BestSet]:
    rule = CacheRule("acme", 1024, 64, 300.0, 3600.0, False, "documentation")
    dataset = work.dataset()
    replayed = replay_audit(dataset, Ledger())
    found, best = recommend(Examined(dataset, lambda call: rule), replayed.substitutes)
    return {one.id: one for one in [*found, *replayed.recommendations]}, best


def test_serving_at_home_and_caching_of_other_calls_add_up() -> None:
    work = on_and_off_the_bill()
    alone, best = together(work)
    caching = 100 * (5 * 6400 * 10 - 6400 * Decimal("12.5") - 4 * 6400) / 1_000_000
    assert alone["prompt_caching"].saving_usd.mid == caching
    assert set(best.ids) == {"self_host", "prompt_caching"}
    assert best.saving_usd.mid == pytest.approx(alone["self_host"].saving_usd.mid + caching)
    assert best.sum_of_parts_usd == alone["self_host"].saving_usd.mid + caching
    machine = alone["self_host"].details["usd_per_hour"]["mid"] * HOURS
    assert best.remaining_usd == pytest.approx(machine + 100 * 5 * 6400 * 10 / Decimal(1_000_000) - caching)


def test_what_shortens_calls_that_are_served_at_home_saves_nothing_of_their_bill() -> None:
    alone, best = together(on_and_off_the_bill(offered=True))
    assert alone["drop_unused_tools"].saving_usd.mid > 0
    assert "drop_unused_tools" not in best.ids
    assert best.left_out["drop_unused_tools"].startswith("saves nothing beside self_host")
    assert best.saving_usd.mid < best.sum_of_parts_usd + alone["drop_unused_tools"].saving_usd.mid
