"""When sessions and calls start in a replay."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tests.analyzer.agents import H100, agents

from inferometer.analyzer.replay import Arrivals, ReplayResult, replay
from inferometer.analyzer.workload import Workload
from inferometer.schema.errors import UserError


def test_sessions_without_times_start_so_many_at_a_time_and_say_so() -> None:
    untimed = agents(timed=False)
    for concurrency in (1, 3):
        result = replay(untimed, replace(H100, arrivals=Arrivals(concurrency=concurrency)))
        stated = result.arrivals
        assert (stated["sessions"], stated["concurrency"]) == ("assumed", concurrency)
        assert "concurrency" in stated["note"]
        starts, ends = _session_spans(result)
        open_at = [int(((starts <= moment) & (ends > moment)).sum()) for moment in starts]
        assert max(open_at) == concurrency


def _session_spans(result: ReplayResult) -> tuple[Any, Any]:
    first = result.workload.session_first
    ready, end = result.simulation.ready_s, result.simulation.end_s
    pairs = list(pairwise(first))
    return np.array([ready[a:b].min() for a, b in pairs]), np.array([end[a:b].max() for a, b in pairs])


def test_recorded_starts_are_kept_and_said(result: ReplayResult) -> None:
    assert result.arrivals["sessions"] == "recorded"
    assert _session_spans(result)[0].tolist() == pytest.approx([0.0, 60.0, 120.0, 180.0, 240.0, 300.0])


def test_open_loop_starts_every_call_at_its_recorded_time(workload: Workload) -> None:
    simulation = replay(workload, replace(H100, arrivals=Arrivals(open_loop=True))).simulation
    assert simulation.ready_s.tolist() == pytest.approx(
        [60 * session + 6 * step for session in range(6) for step in range(5)]
    )


def test_idle_cap_cuts_only_a_persons_gaps() -> None:
    rows = agents(1, 2)
    human = replace(rows, edges=replace(rows.edges, is_human=np.array([True]), gap_s=np.array([50.0])))
    capped = replay(human, replace(H100, arrivals=Arrivals(idle_cap_s=5.0))).simulation
    assert capped.ready_s[1] - capped.end_s[0] == pytest.approx(5.0)
    tool = replace(rows, edges=replace(rows.edges, gap_s=np.array([50.0])))
    kept = replay(tool, replace(H100, arrivals=Arrivals(idle_cap_s=5.0))).simulation
    assert kept.ready_s[1] - kept.end_s[0] == pytest.approx(50.0)


def test_poisson_arrivals_are_the_seeds(workload: Workload) -> None:
    asked = replace(H100, arrivals=Arrivals("poisson", rate_per_s=0.1), seed=4)
    first, second = (replay(workload, asked, with_interval=False).simulation.ready_s for _ in range(2))
    assert first.tolist() == second.tolist()
    assert first.tolist() != replay(workload, replace(asked, seed=5)).simulation.ready_s.tolist()


@pytest.mark.parametrize(
    ("arrivals", "text"),
    [
        (Arrivals("recorded"), "no absolute start time"),
        (Arrivals("poisson"), "poisson:0.5"),
        (Arrivals("times", times_s=(1.0,)), "1 arrival times are given for 6"),
        (Arrivals("times", times_s=(1.0, 2.0, -1.0, 3.0, 4.0, 5.0)), "0 or more"),
    ],
)
def test_arrivals_that_cannot_be_made_are_refused(arrivals: Arrivals, text: str) -> None:
    with pytest.raises(UserError, match=text):
        replay(agents(timed=False), replace(H100, arrivals=arrivals))
