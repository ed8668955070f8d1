"""From a scenario to a fleet: acceptance lengths, machines sold whole, other tenants."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferometer.analyzer.replay_fleet import ACCEPTANCE_LENGTHS, speculation_of
from inferometer.analyzer.replay_scenario import Scenario
from inferometer.profiles.models import load_model

KIMI = Scenario("h200_sxm", "vllm", "moonshotai/Kimi-K2.5", tp=8, speculative_tokens=3)
LLAMA = replace(KIMI, model="meta-llama/Llama-3.1-70B")


@pytest.mark.parametrize(
    ("scenario", "length"),
    [
        (KIMI, load_model("moonshotai/Kimi-K2.5").acceptance_lengths[2]),
        (replace(KIMI, acceptance_length=2.0), 2.0),
        (replace(KIMI, speculative_kind="draft", draft_model="moonshotai/Kimi-K2.5"), ACCEPTANCE_LENGTHS[3]),
        (LLAMA, ACCEPTANCE_LENGTHS[3]),
    ],
    ids=["published-for-the-model", "given", "another-model-drafts", "nothing-published"],
)
def test_acceptance_length_is_the_nearest_known(scenario: Scenario, length: float) -> None:
    speculation = speculation_of(scenario)
    assert speculation is not None
    assert speculation.acceptance_length == length
    assert load_model("moonshotai/Kimi-K2.5").acceptance_lengths[2] != ACCEPTANCE_LENGTHS[3]
