"""Replicas that are not needed: of a fleet that the ledger states, and of one that serving metrics show."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferometer.analyzer.audit_scenarios import replay_audit
from inferometer.analyzer.fleet_seen import fleet_seen
from inferometer.analyzer.ledger import Ledger, Reserved
from inferometer.analyzer.recommend import Recommendation
from inferometer.analyzer.replay import Payment
from inferometer.analyzer.replay_cost import hourly_price
from inferometer.profiles.hardware import load_hardware
from inferometer.schema.records import Resource, ServingSample
from inferometer.testing.workload import EPOCH_NS, Workload

OPEN = "meta-llama/Llama-3.1-70B"
HOURS = 192


def reading(metric: str, value: float, host: str, **attributes: str) -> ServingSample:
    return ServingSample(EPOCH_NS, metric, value, Resource((("host.name", host),)), attributes)


def engines(*hosts: str) -> list[ServingSample]:
    return [reading("vllm:num_requests_running", 1.0, host) for host in hosts]


def devices(*busy: float) -> list[ServingSample]:
    return [reading("DCGM_FI_PROF_SM_ACTIVE", value, "a", gpu=str(number)) for number, value in enumerate(busy)]


def sparse(every_h: int = 24) -> Workload:
    work = Workload()
    for hour in sorted({*range(0, HOURS, every_h), HOURS - 1}):
        at_s = hour * 3600 + 300
        work.call(work.run(at_s), at_s, 5, model=OPEN, provider="vllm", input_fresh=10_000, cache_read=0, output=100)
    return work


def advice(samples: list[ServingSample], ledger: Ledger | None = None) -> dict[str, Recommendation]:
    dataset = sparse().dataset()
    dataset.serving_samples = samples
    return {one.id: one for one in replay_audit(dataset, ledger or Ledger()).recommendations}


def test_engines_are_told_apart_by_host_and_rank_and_devices_by_host_and_number() -> None:
    samples = [
        *engines("a", "a", "b"),
        *(reading("vllm:kv_cache_usage_perc", 0.1, "c", engine=str(rank)) for rank in (0, 1, 1)),
        reading("vllm:num_requests_waiting", 0, "c"),
        *devices(0.1, 0.3),
        reading("DCGM_FI_PROF_SM_ACTIVE", 0.2, "b", gpu="0"),
        # a coarser metric of the same devices is not averaged with the finer one
        reading("DCGM_FI_DEV_GPU_UTIL", 100, "b", gpu="0"),
    ]
    found = fleet_seen(samples)
    assert (found.replicas, found.devices, found.readings) == (4, 3, 3)
    assert found.utilisation == pytest.approx(0.2)


def test_a_device_that_is_read_more_often_weighs_no_more() -> None:
    samples = [*devices(0.0), *[reading("DCGM_FI_DEV_GPU_UTIL", 100, "b", gpu="0")] * 9]
    assert fleet_seen(samples).utilisation == 0
    assert fleet_seen([*samples[1:], reading("DCGM_FI_DEV_GPU_UTIL", 0, "c", gpu="0")]).utilisation == 0.5


def test_nothing_read_is_no_fleet() -> None:
    assert fleet_seen([ServingSample(EPOCH_NS, "claude_code.cost.usage", 1.0)]) == fleet_seen([])
    assert (fleet_seen([]).replicas, fleet_seen([]).utilisation) == (0, None)
    assert "consolidate_replicas" not in advice([])
    assert "consolidate_replicas" not in advice(engines("a"))


def test_replicas_that_metrics_show_are_given_back_at_the_price_by_the_hour() -> None:
    found = advice(engines("a", "b", "c", "d"))["consolidate_replicas"]
    price = hourly_price(load_hardware("h100_sxm"), 2, Payment())
    assert price is not None
    assert (found.details["fleet"], found.details["replicas"]) == (4, 1)
    assert found.saving_usd.mid == 3 * price.usd.mid * HOURS
    assert found.saving_usd.low == 2 * price.usd.low * HOURS
    assert found.cash_usd == found.saving_usd
    assert found.freed_capacity_usd.mid == 0
    assert any("not measured" in condition for condition in found.preconditions)


def test_what_was_measured_bounds_what_the_replay_would_take_away() -> None:
    found = advice([*engines("a", "b", "c", "d"), *devices(0.5, 0.5)])["consolidate_replicas"]
    # the replayed calls would fit one; devices half busy need 4 x 0.5 / 0.8 replicas
    assert found.details["replicas"] == 3
    assert found.details["measured_utilisation"] == 0.5
    assert any("busy 50% of the time over 2 readings" in condition for condition in found.preconditions)
    assert "consolidate_replicas" not in advice([*engines("a", "b", "c", "d"), *devices(0.7)])


def test_the_ledger_prices_the_replicas_that_metrics_count() -> None:
    ledger = Ledger(reserved=(Reserved(hardware="h100_sxm", gpus=16, usd_per_gpu_hour=Decimal(2)),))
    found = advice(engines("a", "b", "c"), ledger)["consolidate_replicas"]
    assert (found.details["fleet"], found.details["replicas"]) == (3, 1)
    assert found.saving_usd.mid == 2 * 2 * 2 * HOURS
    assert found.freed_capacity_usd == found.saving_usd
    assert found.cash_usd.mid == 0
