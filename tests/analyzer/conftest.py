"""One replay of agents that many tests look at."""

from __future__ import annotations

import pytest
from tests.analyzer.agents import H100, agents

from inferometer.analyzer.replay import ReplayResult, replay
from inferometer.analyzer.workload import Workload


@pytest.fixture(scope="session")
def workload() -> Workload:
    return agents()


@pytest.fixture(scope="session")
def result(workload: Workload) -> ReplayResult:
    return replay(workload, H100)
