"""Tokens of recorded calls as the replayed model counts them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.analyzer.agents import H100

from inferometer.analyzer.replay import replay
from inferometer.analyzer.replay_recount import count_as
from inferometer.analyzer.workload import Workload, made_up_workload


@pytest.mark.parametrize(
    ("recorded", "target", "factor"),
    [
        ("gpt-4o-2024-08-06", "meta-llama/Llama-3.1-70B", 1.011),
        ("openai/gpt-4o", "Qwen/Qwen3-32B", 1.052),
        ("deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-R1", 1.0),
        ("claude-opus-4-5", "meta-llama/Llama-3.1-70B", None),
        (None, "meta-llama/Llama-3.1-70B", None),
    ],
)
def test_tokens_are_scaled_where_both_vocabularies_are_measured(
    recorded: str | None, target: str, factor: float | None
) -> None:
    calls = made_up_workload([0.0] * 3, [1000] * 3, [100] * 3)
    calls = replace(calls, model=np.array([0, 0, 1], np.int32), models=(recorded, "unheard-of"))
    found = count_as(calls, H100, target)
    expected = [round((factor or 1.0) * 1000)] * 2 + [1000]
    assert found.workload.input_tokens.tolist() == expected
    assert found.workload.output_tokens.tolist() == [round(tokens / 10) for tokens in expected]
    how = "unknown" if factor is None else "same_vocabulary" if factor == 1.0 else "ratio"
    assert found.input_counted_by == found.output_counted_by
    assert found.input_counted_by[how] == pytest.approx(2 / 3 if factor else 1.0)
    assert sum(found.input_counted_by.values()) == pytest.approx(1.0)


def test_stated_scale_replaces_the_measured_ratio(workload: Workload) -> None:
    spoken = replace(workload, model=np.zeros(workload.calls, np.int32), models=("gpt-4o",))
    measured = replay(spoken, H100, with_interval=False).as_dict()
    assert measured["scenario"]["input_counted_by"]["ratio"] == 1.0
    assert measured["scenario"]["input_recounted_share"] == 0.0
    assert measured["input_tokens"] == pytest.approx(1.011 * workload.input_tokens.sum(), rel=1e-3)
    stated = replay(spoken, replace(H100, input_scale=2.0), with_interval=False).as_dict()
    assert stated["input_tokens"] == 2 * workload.input_tokens.sum()
    assert stated["scenario"]["input_counted_by"] == {"scale": 1.0}
    longer = replay(spoken, replace(H100, output_scale=2.0), with_interval=False).as_dict()
    assert longer["output_tokens"] == pytest.approx(2 * measured["output_tokens"], rel=1e-3)
