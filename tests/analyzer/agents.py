"""Agents' sessions that tests replay, and where."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from inferometer.analyzer.replay import Scenario
from inferometer.analyzer.workload import Workload, build_workload
from inferometer.analyzer.workload_prefix import forest_of
from inferometer.schema.meters import Meters
from inferometer.schema.records import Dependency, Inference, Status
from inferometer.schema.rows import InferenceRow, Placement

H100 = Scenario("h100_sxm", "vllm", "meta-llama/Llama-3.1-70B", precision="fp8", tp=4)


def agents(sessions: int = 6, steps: int = 5, *, timed: bool = True, seed: int = 3) -> Workload:
    """Return sessions whose prompts grow by what each step adds, started a minute apart."""
    draw = np.random.default_rng(seed)
    rows = []
    for session in range(sessions):
        clock_s = 1_780_000_000.0 + 60 * session if timed else 0.0
        prompt = 4000 + int(draw.integers(0, 2000))
        for step in range(steps):
            output = int(draw.integers(50, 400))
            inference = Inference(
                session.to_bytes(16, "big"),
                step.to_bytes(8, "big"),
                meters=Meters(input_fresh=prompt, output=output),
                depends_on=[Dependency((step - 1).to_bytes(8, "big"), gap_ns=2_000_000_000)] if step else [],
            )
            begin, end = round(clock_s * 1e9), round((clock_s + 4) * 1e9)
            place = Placement(f"run{session}", None, begin, end, Status.OK, session_id=f"session{session}")
            rows.append(InferenceRow(inference, place))
            clock_s += 6
            prompt += output + int(draw.integers(100, 800))
    workload = build_workload(rows, lambda row: Decimal("0.02"))
    hashes = [
        np.array([hash((int(workload.run[call]), place)) % 2**63 for place in range(tokens // 64)], np.uint64)
        for call, tokens in enumerate(workload.input_tokens.tolist())
    ]
    return replace(workload, prefixes=forest_of(hashes, 64)[0], warnings=workload.warnings)
