"""What a replay answers: its document, refusals, and what is unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tests.analyzer.agents import H100

from inferometer.analyzer.replay import Arrivals, Payment, ReplayResult, Scenario, replay
from inferometer.analyzer.replay_engine import simulate
from inferometer.analyzer.replay_fleet import build_deployment
from inferometer.analyzer.workload import Recorded, Workload, build_workload, made_up_workload
from inferometer.schema.errors import InfeasibleError, UnknownNameError, UserError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Dependency, Inference, Status
from inferometer.schema.rows import InferenceRow, Placement


def test_document_matches_its_schema(result: ReplayResult, repository: Path) -> None:
    schema = json.loads((repository / "docs/schemas/replay.json").read_text())
    document = json.loads(json.dumps({"schema_version": 1, **result.as_dict()}, default=str))
    jsonschema.validate(document, schema)
    assert set(document) == set(schema["required"])


@pytest.mark.parametrize("document", ["replay", "sweep", "predict"])
def test_every_key_of_a_document_is_explained(document: str, repository: Path) -> None:
    """In its own description, or in that of what it is a part of."""

    def unexplained(node: dict[str, Any], path: str) -> list[str]:
        found = []
        for name, value in node.get("properties", {}).items():
            if "description" not in value:
                found.append(f"{path}{name}")
            elif value.get("type") == "array":
                found += unexplained(value["items"], f"{path}{name}[].")
        return found

    schema = json.loads((repository / f"docs/schemas/{document}.json").read_text())
    assert unexplained(schema, "") == []


def test_all_is_served_and_prefixes_are_found(result: ReplayResult) -> None:
    answer = result.as_dict()
    assert answer["refused"] == {"over_context": 0, "over_memory": 0}
    assert answer["infeasible_runs_share"] == 0
    assert 0 < answer["prefix_hit_rate"] <= answer["prefix_hit_rate_infinite"] < 1
    assert answer["prefix_hit_rate_infinite_served"] == answer["prefix_hit_rate_infinite"]
    assert answer["output_tokens"] == result.workload.output_tokens.sum()
    assert 0 < answer["mfu"] < 1
    assert 0 < answer["mbu"] < 1


def test_long_calls_are_refused_and_their_runs_infeasible() -> None:
    calls = made_up_workload([0.0, 1.0, 2.0, 3.0], [1000, 131_072, 131_073, 200_000], [10, 10, 10, 10])
    answer = replay(calls, H100).as_dict()
    assert answer["refused"] == {"over_context": 2, "over_memory": 0}
    assert answer["infeasible_runs_share"] == 0.5
    assert answer["warnings"]["output_past_window"] == 1


def test_calls_over_kv_memory_are_refused_at_that_parallelism() -> None:
    calls = made_up_workload([0.0, 1.0], [1000, 120_000], [10, 10])
    narrow = replace(H100, tp=1)
    assert build_deployment(narrow, calls).step_model.kv_capacity_tokens < 120_000
    assert replay(calls, narrow).as_dict()["refused"] == {"over_context": 0, "over_memory": 1}
    assert replay(calls, H100).as_dict()["refused"] == {"over_context": 0, "over_memory": 0}


def test_same_hardware_and_run_leaves_no_residual(workload: Workload) -> None:
    """A trace of the simulated run, its gaps told by times alone, replays to the nanosecond it was written with."""
    first = replay(workload, H100, with_interval=False).simulation
    rows = []
    for call in range(workload.calls):
        trace, span = workload.keys[call]
        step = int.from_bytes(span, "big")
        inference = Inference(
            trace,
            span,
            meters=Meters(input_fresh=int(workload.input_tokens[call]), output=int(workload.output_tokens[call])),
            depends_on=[Dependency((step - 1).to_bytes(8, "big"))] if step else [],
        )
        begin, end = (
            1_780_000_000 * 10**9 + round(float(moment[call]) * 1e9) for moment in (first.ready_s, first.end_s)
        )
        run = f"run{workload.run[call]}"
        rows.append(InferenceRow(inference, Placement(run, None, begin, end, Status.OK, session_id=run)))
    again = replace(build_workload(rows), prefixes=workload.prefixes)
    second = replay(again, H100, with_interval=False)
    assert second.simulation.end_s == pytest.approx(first.end_s, abs=1e-6)
    assert second.as_dict()["recorded"]["e2e_s"]["p50"] == pytest.approx(second.as_dict()["e2e_s"]["p50"], abs=1e-6)


def test_medians_lie_within_their_interval(result: ReplayResult) -> None:
    answer = result.as_dict()
    for name, ends in answer["median_interval"].items():
        assert ends["low"] < answer[name]["p50"] < ends["high"]


@pytest.mark.parametrize(
    ("scenario", "error", "text"),
    [
        (replace(H100, hardware="h100sxm"), UnknownNameError, "h100_sxm"),
        (replace(H100, model="meta-llama/Llama-3.1-70"), UnknownNameError, "Llama-3.1-70B"),
        (replace(H100, tp=1, precision="bf16"), InfeasibleError, "missing.*smallest tensor parallelism that fits is 2"),
        (replace(H100, hardware="b300_sxm", precision="int8"), InfeasibleError, "no int8"),
        (replace(H100, replicas=0), InfeasibleError, "replicas is 0"),
        (replace(H100, round_trip_s=-1.0), InfeasibleError, "round trip is -1.0"),
        (replace(H100, background_rate_per_s=float("nan")), InfeasibleError, "background rate is nan"),
        (replace(H100, output_scale=float("inf")), InfeasibleError, "output scale"),
        (replace(H100, router="best"), UnknownNameError, "least_loaded"),
        (replace(H100, payment=Payment(utilisation=1.5)), InfeasibleError, "share of 1"),
        (replace(H100, speculative_tokens=20), InfeasibleError, "acceptance length"),
        (replace(H100, speculative_tokens=2, speculative_kind="draft"), InfeasibleError, "small model"),
        (replace(H100, speculative_kind="medusa"), UnknownNameError, "kind of drafting"),
        (replace(H100, arrivals=Arrivals("sometimes")), UnknownNameError, "arrival kind"),
    ],
)
def test_what_cannot_be_is_refused(workload: Workload, scenario: Scenario, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        replay(workload, scenario)


def test_fleet_too_large_to_simulate_is_refused(workload: Workload) -> None:
    fleet = build_deployment(H100, workload).fleet
    wide = replace(fleet, replicas=30_000, rules=replace(fleet.rules, max_sequences=4096))
    with pytest.raises(UserError, match="GB to simulate"):
        simulate(workload, wide)
    with pytest.raises(InfeasibleError, match="32,767"):
        replay(workload, replace(H100, replicas=40_000))


def test_nothing_recorded_reads_as_unknown() -> None:
    calls = made_up_workload([0.0], [100], [1])
    answer = replay(replace(calls, recorded=Recorded(np.array([np.nan]), np.array([np.nan]))), H100).as_dict()
    assert answer["recorded"]["ttft_s"] == dict.fromkeys(("p50", "p90", "p99", "mean", "max"))
    assert answer["recorded"]["cost_usd"] is None
    assert answer["break_even_utilisation"] is None
    assert answer["prefix_hit_rate"] is None
    assert answer["tpot_s"]["p50"] is None
