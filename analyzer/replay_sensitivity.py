"""How an answer changes were the model to write more or less, or to take more or fewer steps, than was recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from inferometer.analyzer.replay import replay
from inferometer.analyzer.replay_scenario import Scenario
from inferometer.analyzer.workload import Workload
from inferometer.analyzer.workload_scaling import double_steps, halve_steps

OUTPUTS = (0.5, 1.0, 2.0)
STEPS = (0.5, 1.0, 2.0)


def measure_sensitivity(workload: Workload, scenario: Scenario) -> list[dict[str, Any]]:
    """Return cost and latency at half, once and twice the output, and the steps, that were recorded.

    A replay holds behaviour fixed: the same calls, tools and output lengths. Another model would behave otherwise, and
    how is not in the record; this says what that could change.
    """
    variants = {0.5: halve_steps(workload), 1.0: workload, 2.0: double_steps(workload)}
    lines = []
    for output, steps in [(output, 1.0) for output in OUTPUTS] + [(1.0, steps) for steps in STEPS if steps != 1.0]:
        changed = replace(scenario, output_scale=scenario.output_scale * output)
        answer = replay(variants[steps], changed, with_interval=False).as_dict()
        lines.append(
            {
                "output": output,
                "steps": steps,
                "calls": answer["calls"],
                "cost_usd": answer["cost_usd"]["mid"],
                "cost_usd_by_basis": answer["cost_usd_by_basis"],
                "makespan_s": answer["makespan_s"],
                "ttft_s": answer["ttft_s"],
                "run_e2e_s": answer["run_e2e_s"],
            }
        )
    return lines
