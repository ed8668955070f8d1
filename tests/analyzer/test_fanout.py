"""Fan-out: distributions, depth, width and the critical path of runs whose shape is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferometer.analyzer.fanout import agent_depth, fanout, run_shapes
from inferometer.analyzer.fanout_distribution import distribution
from inferometer.analyzer.fanout_path import Work, critical_path_ns, merged, width
from inferometer.schema.records import Composition, Dependency, DependencyKind, Span, SpanKind
from inferometer.testing.workload import Workload


def test_quantiles_are_values_that_were_observed() -> None:
    found = distribution([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    assert found == {"p50": 5, "p90": 9, "p99": 10, "mean": 5.5, "max": 10}


def test_a_weight_counts_as_that_many_observations() -> None:
    assert distribution([1, 7], [9, 1]) == distribution([1] * 9 + [7])


def test_no_observation_is_unknown_and_not_zero() -> None:
    assert set(distribution([]).values()) == {None}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(1, 20)), min_size=1, max_size=40))
def test_weighted_quantiles_equal_those_of_the_repeated_values(pairs: list[tuple[float, int]]) -> None:
    repeated = [value for value, weight in pairs for _ in range(weight)]
    found = distribution([value for value, _ in pairs], [float(weight) for _, weight in pairs])
    expected = distribution(repeated)
    assert {name: found[name] for name in ("p50", "p90", "p99", "max")} == {
        name: expected[name] for name in ("p50", "p90", "p99", "max")
    }


def test_width_is_the_most_that_was_open_at_once() -> None:
    assert width([(0, 10), (2, 5), (4, 8), (10, 12)]) == 3
    assert width([(0, 10), (10, 20)]) == 1


def test_overlapping_intervals_are_merged() -> None:
    assert merged([(0, 3), (2, 5), (7, 9), (9, 10), (4, 4)]) == [(0, 5), (7, 10)]


def test_the_critical_path_follows_the_last_to_finish() -> None:
    # a model call, then two tools side by side of which the longer is waited for, then agent code, then a model call
    work = [Work(0, 10, "inference"), Work(10, 14, "tool"), Work(10, 30, "tool"), Work(35, 40, "inference")]
    path = critical_path_ns(0, 50, work, [(0, 45)])
    assert path == {"inference": 15, "tool": 20, "agent": 10, "idle": 5}


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 40), st.booleans()), max_size=12))
def test_the_critical_path_sums_to_the_run(leaves: list[tuple[int, int, bool]]) -> None:
    work = [Work(start, start + length, "tool" if tool else "inference") for start, length, tool in leaves]
    end = max([leaf.end_ns for leaf in work], default=0) + 5
    path = critical_path_ns(0, end, work, [(0, end // 2)])
    assert sum(path.values()) == end
    assert all(duration >= 0 for duration in path.values())


def test_depth_counts_nested_agents_and_survives_a_cycle() -> None:
    def span(name: bytes, parent: bytes | None, kind: SpanKind) -> Span:
        return Span(b"t" * 16, name, "span", kind, parent)

    nested = [
        span(b"a", None, SpanKind.AGENT),
        span(b"b", b"a", SpanKind.TOOL),
        span(b"c", b"b", SpanKind.AGENT),
        span(b"d", b"c", SpanKind.INFERENCE),
    ]
    assert agent_depth(nested) == 2
    assert agent_depth([span(b"a", b"b", SpanKind.OTHER), span(b"b", b"a", SpanKind.OTHER)]) == 1


def test_a_run_is_described_by_its_own_calls() -> None:
    work = Workload()
    run = work.run(agent="writer")
    first = work.call(run, 0, 2, input_fresh=100, output=10)
    first.composition = Composition(user=50)
    work.tool(run, 2, 3)
    work.call(run, 5, 1, input_fresh=300, output=40)
    shape = run_shapes(work.dataset())[0]
    assert (shape.inferences, shape.tool_calls, shape.input_tokens) == (2, 1, 400)
    assert shape.amplification == pytest.approx(450 / 50)
    assert shape.resend == pytest.approx(400 / 300)
    assert shape.path_ns == {"inference": 3e9, "tool": 3e9, "agent": 0, "idle": 0}


def test_waiting_for_a_person_is_idle_and_not_agent_code() -> None:
    work = Workload()
    run = work.run()
    first = work.call(run, 0, 1, input_fresh=1, output=1)
    second = work.call(run, 61, 1, input_fresh=1, output=1)
    second.depends_on.append(Dependency(first.span_id, DependencyKind.HUMAN, 60_000_000_000))
    assert fanout(run_shapes(work.dataset()))["critical_path_share"]["idle"] == pytest.approx(60 / 62)


def test_sampled_runs_count_by_their_weight() -> None:
    work = Workload()
    work.call(work.run(weight=10.0), input_fresh=1, output=1)
    run = work.run()
    for _ in range(7):
        work.call(run, input_fresh=1, output=1)
    found = fanout(run_shapes(work.dataset()))
    assert found["by_agent"][0]["runs"] == 11
    assert found["inferences_per_run"]["p90"] == 1


def test_groups_cover_agents_sessions_days_and_versions() -> None:
    work = Workload()
    for number in range(4):
        run = work.run(
            number * 86_400,
            agent="a" if number % 2 else "b",
            session=str(number // 2),
            tags={"version": str(number % 2)},
        )
        work.call(run, number * 86_400, input_fresh=1000 * (number + 1), output=1)
    found = fanout(run_shapes(work.dataset()))
    assert [row["agent"] for row in found["by_agent"]] == ["a", "b"]
    assert found["by_session"]["sessions"] == 2
    assert len(found["by_day"]) == 4
    assert [row["runs"] for row in found["by_version"]] == [2, 2]


def test_a_run_without_a_price_has_no_cost_and_not_zero() -> None:
    work = Workload()
    work.call(work.run(), input_fresh=100, output=1, model="unlisted")
    work.call(work.run(), input_fresh=1_000_000, output=0)
    work.call(work.run(), input_fresh=1_000_000, output=0)
    found = fanout(run_shapes(work.dataset()))
    assert (found["cost_usd_per_run"]["p50"], found["cost_usd_per_run"]["mean"]) == (10, 10)
    work.rows, work.runs = work.rows[:1], work.runs[:1]
    assert fanout(run_shapes(work.dataset()))["cost_usd_per_run"] == distribution([])


def test_calls_without_usage_or_times_have_no_size_and_no_width() -> None:
    work = Workload()
    blind = work.run(agent="blind")
    work.call(blind)
    seen = work.run(agent="seen")
    work.call(seen, input_fresh=100, output=1)
    work.call(seen)
    for row in work.rows[:1]:
        row.placement.start_ns = row.placement.end_ns = None
    dataset = work.dataset()
    shapes = {shape.agent: shape for shape in run_shapes(dataset)}
    assert (shapes["blind"].input_tokens, shapes["blind"].width, shapes["blind"].resend) == (None, None, None)
    assert (shapes["seen"].input_tokens, shapes["seen"].unpriced) == (100, 1)
    found = fanout(list(shapes.values()))
    assert found["input_tokens_per_run"]["max"] == 100
    assert (found["unpriced_runs"], found["partly_priced_runs"]) == (1, 1)


def test_versions_are_tags_else_what_a_runs_root_states_in_the_order_they_came() -> None:
    work = Workload()
    for number, tags in enumerate(({}, {"version": "1.10"}, {"version": "1.9"}, {})):
        work.call(work.run(number * 100, tags=tags), number * 100, input_fresh=1, output=1)
    dataset = work.dataset()
    dataset.stated_versions = {work.runs[0].run_id: "1.8", work.runs[1].run_id: "0.1"}
    found = fanout(run_shapes(dataset))["by_version"]
    assert [(row["version"], row["runs"]) for row in found] == [("1.8", 1), ("1.10", 1), ("1.9", 1)]
