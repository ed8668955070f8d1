"""Recorded calls become arrays: who waited for whom, how long, and which prefixes they share."""

from __future__ import annotations

import gzip
import json
import struct
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from inferometer.analyzer.workload import Workload, build_workload, load_workload
from inferometer.analyzer.workload_prefix import build_forest, forest_of
from inferometer.analyzer.workload_scaling import double_steps, halve_steps
from inferometer.ingest.commit import commit
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan, resource_of
from inferometer.schema.errors import UserError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Dependency, DependencyKind, Inference, PrefixChain, Purpose, SpanLink, Status
from inferometer.schema.rows import InferenceRow, Placement
from inferometer.store import open_store
from inferometer.testing.raw_spans import agent, chat, span_id

TRACE = b"t" * 16
SECOND = 1_000_000_000
BEGIN = 1_780_000_000 * SECOND


def call(
    number: int,
    start_s: float | None,
    end_s: float | None,
    *,
    after: dict[int, float | None] | None = None,
    tokens: tuple[int | None, int | None] = (100, 10),
    session: str = "s",
    run: str = "r",
    kind: DependencyKind = DependencyKind.SEQUENTIAL,
    chain: PrefixChain | None = None,
    purpose: Purpose | None = None,
    begin: int = BEGIN,
) -> InferenceRow:
    edges = [
        Dependency(bytes([other]) * 8, kind, None if gap is None else round(gap * SECOND))
        for other, gap in (after or {}).items()
    ]
    inference = Inference(
        TRACE,
        bytes([number]) * 8,
        meters=Meters(input_fresh=tokens[0], output=tokens[1]),
        depends_on=edges,
        prefix=chain,
    )
    times = [None if second is None else begin + round(second * SECOND) for second in (start_s, end_s)]
    return InferenceRow(
        inference, Placement(run, None, times[0], times[1], Status.OK, session_id=session, purpose=purpose)
    )


def edges_of(workload: Workload) -> dict[tuple[int, int], float]:
    edges = workload.edges
    return {
        (int(source), int(target)): round(float(gap), 9)
        for source, target, gap in zip(edges.sources, edges.to, edges.gap_s, strict=True)
    }


def test_stated_gaps_are_kept() -> None:
    workload = build_workload([call(1, 0, 5), call(2, 7, 9, after={1: 2.0})])
    assert edges_of(workload) == {(0, 1): 2.0}
    assert workload.has_start_times
    assert workload.session_start_s.tolist() == [0.0]


def test_join_waits_what_passed_after_the_last_of_its_calls() -> None:
    rows = [call(1, 0, 5), call(2, 0, 9), call(3, 10, 11, after={1: 5.0, 2: 1.0}, kind=DependencyKind.JOIN)]
    assert edges_of(build_workload(rows)) == {(0, 2): 1.0, (1, 2): 1.0}


def test_unstated_gap_comes_from_the_times() -> None:
    assert edges_of(build_workload([call(1, 0, 5), call(2, 8, 9, after={1: None})])) == {(0, 1): 3.0}


def test_next_run_of_a_session_waits_as_the_person_did() -> None:
    workload = build_workload([call(1, 0, 5, run="a"), call(2, 65, 70, run="b")])
    assert edges_of(workload) == {(0, 1): 60.0}
    assert workload.edges.is_human.tolist() == [True]
    assert workload.runs == 2


def test_run_that_goes_on_in_another_trace_waits_for_itself_and_for_no_person(tmp_path: Path) -> None:
    """Two runs of one session; the first goes on, by a link, in another trace and another service after both."""

    def part(trace: int, begin_s: float, session: str, links: list[SpanLink], service: str) -> list[RawSpan]:
        known = {"gen_ai__conversation__id": session}
        root = replace(agent(1, trace=bytes([trace] * 16), start=begin_s, end=begin_s + 10, **known), links=links)
        calls = [
            chat(2 + n, 1, trace=bytes([trace] * 16), start=begin_s + 4 * n, end=begin_s + 4 * n + 3) for n in (0, 1)
        ]
        resource = resource_of({"service.name": service})
        return [replace(span, resource=resource) for span in (root, *calls)]

    link = [SpanLink(bytes([1] * 16), span_id(1))]
    spans = [*part(1, 0, "s", [], "web"), *part(2, 12, "s", [], "web"), *part(3, 40, "s", link, "worker")]
    with open_store(str(tmp_path / "store.db")) as store:
        for some in (spans[6:], spans[:6]):
            with store.transaction() as tx:
                commit(tx, normalise(some))
        workload = load_workload(store)
    # calls in order of time: 0 and 1 of the first run, 2 and 3 of the other one, 4 and 5 of the first one's second part
    assert (workload.runs, workload.sessions) == (2, 1)
    assert workload.run.tolist() == [0, 0, 1, 1, 0, 0]
    assert edges_of(workload) == {(0, 1): 1.0, (1, 2): 5.0, (2, 3): 1.0, (1, 4): 33.0, (4, 5): 1.0}
    human = dict(zip(edges_of(workload), workload.edges.is_human.tolist(), strict=True))
    assert [edge for edge, is_human in human.items() if is_human] == [(1, 2)]


def test_parallel_calls_without_edges_start_with_their_session() -> None:
    workload = build_workload([call(1, 0, 5), call(2, 1, 5)])
    assert edges_of(workload) == {}
    assert workload.release_s.tolist() == [0.0, 1.0]


def test_failed_call_and_the_wait_after_it_are_passed_over() -> None:
    rows = [
        call(1, 0, 5),
        call(2, 7, 8, after={1: 2.0}, tokens=(None, None)),
        call(3, 38, 40, after={2: 30.0}),
    ]
    workload = build_workload(rows)
    assert edges_of(workload) == {(0, 1): 2.0}
    assert workload.warnings["without_lengths"] == 1


def test_edges_back_in_time_are_dropped_and_counted() -> None:
    rows = [call(1, 0, 5, after={2: 0.0}), call(2, 6, 9, after={1: 1.0})]
    workload = build_workload(rows)
    assert edges_of(workload) == {(0, 1): 1.0}
    assert workload.warnings["cyclic_dependency"] == 1


def test_edges_to_another_session_are_dropped_and_counted() -> None:
    rows = [call(1, 0, 5, session="a", run="a"), call(2, 6, 9, after={1: 1.0}, session="b", run="b")]
    workload = build_workload(rows)
    assert edges_of(workload) == {}
    assert workload.warnings["dependency_outside_session"] == 1
    assert workload.session_start_s.tolist() == [0.0, 6.0]


def test_times_before_2000_are_no_absolute_starts() -> None:
    workload = build_workload([call(1, 0, 5, begin=0), call(2, 8, 9, after={1: 3.0}, begin=0)])
    assert np.isnan(workload.session_start_s).all()
    assert edges_of(workload) == {(0, 1): 3.0}


def test_requests_of_one_trace_share_its_clock() -> None:
    rows = [call(n, n * 3, n * 3, session=str(n), run=str(n), begin=0) for n in range(3)]
    rows = [replace(row, placement=replace(row.placement, source="trace.jsonl", session_id=None)) for row in rows]
    workload = build_workload(rows)
    assert workload.session_start_s.tolist() == [0.0, 3.0, 6.0]
    assert np.isnan(workload.recorded.e2e_s).all()  # a request without an end took no known time


def test_calls_without_times_follow_each_other() -> None:
    workload = build_workload([call(1, None, None), call(2, None, None)])
    assert edges_of(workload) == {(0, 1): 0.0}
    assert np.isnan(workload.recorded.e2e_s).all()


def test_trace_without_lengths_is_refused() -> None:
    with pytest.raises(UserError, match="none states its input and output tokens"):
        build_workload([call(1, 0, 5, tokens=(None, None))])


def test_zero_output_and_estimates_are_counted() -> None:
    workload = build_workload([call(1, 0, 5, tokens=(5, 0))])
    assert workload.warnings == Counter({"zero_output": 1, "unknown_prefix": 1})


def test_calls_of_sampled_traces_are_counted() -> None:
    one = call(1, 0, 5)
    rows = [replace(one, placement=replace(one.placement, weight=10.0)), call(2, 8, 9)]
    assert build_workload(rows).warnings["sampled"] == 1


def test_priority_is_by_purpose() -> None:
    rows = [call(number, number, number + 1, purpose=purpose) for number, purpose in enumerate((None, *Purpose), 1)]
    assert build_workload(rows).priority.tolist() == [0, 0, 1, 2, 2]


def test_recorded_cost_says_how_many_calls_have_none() -> None:
    rows = [call(1, 0, 5), call(2, 8, 9)]
    prices = {bytes([1]) * 8: Decimal("0.25")}
    recorded = build_workload(rows, lambda row: prices.get(row.inference.span_id)).recorded
    assert (recorded.cost_usd, recorded.unpriced) == (Decimal("0.25"), 1)


def chain(*hashes: int, key: str = "k", block: int = 64, vocabulary: str = "local") -> PrefixChain:
    return PrefixChain(struct.pack(f"<{len(hashes)}Q", *hashes), block, vocabulary, key)


def test_segments_end_where_chains_do_and_where_they_part() -> None:
    forest = build_forest([chain(1, 2, 3, 4), chain(1, 2, 5), chain(1, 2, 3, 4, 6)], [256, 192, 320], Counter())
    assert forest.chain_blocks().tolist() == [4, 3, 5]
    assert (forest.unique_blocks, forest.total_blocks) == (6, 12)
    assert sorted(forest.blocks.tolist()) == [1, 1, 2, 2]


def test_hashes_of_different_keys_are_never_the_same_block() -> None:
    forest = build_forest([chain(1, 2), chain(1, 2, key="other")], [128, 128], Counter())
    assert forest.unique_blocks == 4
    assert forest.hit_rate_infinite == 0


def test_chains_of_another_block_size_are_left_out_and_counted() -> None:
    warnings: Counter[str] = Counter()
    forest = build_forest([chain(1, 2), chain(1, block=16), None], [128, 16, 5], warnings)
    assert forest.leaf.tolist() == [0, -1, -1]
    assert warnings == Counter({"prefix_of_other_block_size": 1, "unknown_prefix": 1})


def test_what_is_no_chain_is_cut_and_counted() -> None:
    # block 3 is known below 2, and comes again below 9: its hash cannot cover what is before it
    forest, unchained = forest_of([np.array([1, 2, 3], np.uint64), np.array([9, 3], np.uint64)], 64)
    assert unchained == 1
    assert forest.chain_blocks().tolist() == [3, 1]


def test_blocks_count_as_the_models_own_tokens() -> None:
    counted = [chain(1, 2, 3, 4, vocabulary="o200k_base") for _ in range(50)]
    forest = build_forest(counted, [round(4.5 * 64 * 1.25)] * 50, Counter())
    assert forest.block_tokens == 80


def test_half_and_twice_the_steps_keep_runs_and_order() -> None:
    rows = [
        *(call(n, n * 10, n * 10 + 5, after={n - 1: 5.0} if n > 1 else None, run="a") for n in range(1, 5)),
        call(5, 60, 65, after={4: 15.0}, run="b", kind=DependencyKind.HUMAN),
    ]
    workload = build_workload(rows)
    half, double = halve_steps(workload), double_steps(workload)
    assert (half.calls, double.calls) == (3, 10)
    assert edges_of(half) == {(0, 1): 5.0, (1, 2): 15.0}
    assert half.edges.is_human.tolist() == [False, True]
    assert half.run.tolist() == [0, 0, 1]
    assert len(double.edges.to) == 9
    assert double.edges.gap_s.sum() == workload.edges.gap_s.sum()
    assert double.session_first.tolist() == [0, 10]


def test_kv_cache_tester_prefixes_are_what_the_hash_ids_imply(shared: Path, tmp_path: Path) -> None:
    from inferometer.ingest.importing import import_paths
    from inferometer.store import open_store

    folder = shared / "data/sessions/kv-cache-tester"
    with open_store(str(tmp_path / "store.sqlite")) as store:
        import_paths(store, [folder])
        workload = load_workload(store)
    total = repeated = calls = 0
    for path in sorted(folder.glob("*.json")):
        seen: set[tuple[int, ...]] = set()
        pending = json.loads(path.read_text())["requests"]
        while pending:
            request = pending.pop()
            pending += request.get("requests", [])
            if "in" not in request:
                continue
            calls += 1
            prefix = hash(())
            for block in request["hash_ids"]:
                prefix = hash((prefix, block))
                total += 1
                repeated += prefix in seen
                seen.add(prefix)
    assert workload.calls == calls == 1749
    assert workload.sessions == 67
    assert workload.prefixes.total_blocks == total
    assert workload.prefixes.hit_rate_infinite == pytest.approx(repeated / total, abs=1e-12)
    assert "unchained_prefix" not in workload.warnings


def test_mooncake_conversation_reuses_as_published(shared: Path) -> None:
    with gzip.open(shared / "data/serving/mooncake_conversation_trace.jsonl.gz", "rt") as file:
        chains = [np.array(json.loads(line)["hash_ids"], np.uint64) for line in file if line.strip()]
    forest, unchained = forest_of(chains, 512)
    assert unchained == 0
    assert forest.hit_rate_infinite == pytest.approx(0.366, abs=0.0005)


def test_sessions_of_other_services_are_not_mixed() -> None:
    one, two = call(1, 0, 5), call(2, 6, 9, run="other")
    two = replace(two, placement=replace(two.placement, service="elsewhere"))
    assert build_workload([one, two]).sessions == 2
