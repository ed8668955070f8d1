"""The smallest fleet that keeps an objective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.analyzer.agents import H100

from inferometer.analyzer.replay import Arrivals, replay
from inferometer.analyzer.replay_capacity import OFFICE, Target, plan_capacity
from inferometer.analyzer.workload import Workload, made_up_workload
from inferometer.schema.errors import InfeasibleError, UserError


def test_capacity_is_the_smallest_fleet_that_meets_the_objective() -> None:
    busy = made_up_workload(np.full(300, np.nan), np.full(300, 8000), np.full(300, 200))
    asked = replace(H100, arrivals=Arrivals("poisson", rate_per_s=6.0))
    target = Target.named("ttft_p95", 2.0)
    plan = plan_capacity(busy, asked, [target], shape=OFFICE)
    peak = replace(asked, arrivals=replace(asked.arrivals, rate_per_s=6.0 * max(OFFICE) / (sum(OFFICE) / 24)))
    assert plan.needed > 1
    for replicas, meets in ((plan.needed, True), (plan.needed - 1, False)):
        found = replay(busy, replace(peak, replicas=replicas), with_interval=False)
        assert (np.percentile(found.latencies.ttft_s, 95) <= 2.0) is np.bool_(meets)
    assert max(plan.hourly_replicas) == plan.needed + plan.spare
    assert min(plan.hourly_replicas) < plan.needed
    assert plan.autoscaled_chip_hours < plan.fixed_chip_hours


def test_prefill_and_decode_grow_together() -> None:
    busy = made_up_workload(np.full(200, np.nan), np.full(200, 8000), np.full(200, 100))
    asked = replace(H100, disaggregate=(1, 1), arrivals=Arrivals("poisson", rate_per_s=8.0))
    plan = plan_capacity(busy, asked, [Target.named("ttft_p90", 2.0)], spare=0)
    assert plan.needed > 1
    assert plan.chips_per_replica == 8


def test_objective_that_more_replicas_cannot_meet_is_refused(workload: Workload) -> None:
    with pytest.raises(InfeasibleError, match="a faster deployment is needed"):
        plan_capacity(workload, H100, [Target.named("ttft_p50", 0.000001)])
    with pytest.raises(UserError, match="ttft_p95"):
        Target.named("ttft", 1.0)
    with pytest.raises(UserError, match="poisson"):
        plan_capacity(workload, H100, [Target.named("ttft_p50", 60.0)], shape=OFFICE)
