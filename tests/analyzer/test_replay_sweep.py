"""One workload on many deployments."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema
from tests.analyzer.agents import H100

from inferometer.analyzer.replay_sweep import mark_pareto, sweep
from inferometer.analyzer.workload import Workload


def test_sweep_marks_what_nothing_beats(workload: Workload, repository: Path) -> None:
    found = sweep(workload, H100, hardware=["h100_sxm", "b200_sxm", "mi300x", "l4"], precisions=["fp8"])
    document = found.as_dict()
    schema = json.loads((repository / "docs/schemas/sweep.json").read_text())
    jsonschema.validate(json.loads(json.dumps({"schema_version": 1, **document}, default=str)), schema)
    front = [row for row in found.rows if row["pareto"]]
    assert front
    assert all(row["infeasible_runs_share"] == 0 for row in front)
    for row in found.rows:
        if not row["pareto"] and row["infeasible_runs_share"] == 0:
            assert any(
                other["cost_usd"]["mid"] <= row["cost_usd"]["mid"]
                and other["run_e2e_s"]["p50"] <= row["run_e2e_s"]["p50"]
                for other in front
            )
    assert {skipped["hardware"] for skipped in found.skipped} == {"l4"}
    again = sweep(workload, H100, hardware=["h100_sxm", "b200_sxm", "mi300x", "l4"], precisions=["fp8"], jobs=1)
    assert again.rows == found.rows


def test_row_that_serves_fewer_runs_is_never_on_the_front() -> None:
    def row(cost: int | None, latency: float, infeasible: float) -> dict[str, Any]:
        mid = None if cost is None else Decimal(cost)
        return {"cost_usd": {"mid": mid}, "run_e2e_s": {"p50": latency}, "infeasible_runs_share": infeasible}

    rows = [row(1, 1.0, 0.5), row(5, 2.0, 0.0), row(4, 3.0, 0.0), row(6, 3.0, 0.0), row(None, 1.0, 0.0)]
    mark_pareto(rows)
    assert [found["pareto"] for found in rows] == [False, True, True, False, False]
