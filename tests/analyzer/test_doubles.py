"""Calls that two instrumentations saw in two traces: told as possible doubles, counted as what the traces say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from inferometer.analyzer.doubles import key_of, possible_doubles
from inferometer.analyzer.run_tree import load_tree
from inferometer.analyzer.waste import Examined
from inferometer.analyzer.waste_doubles import possible_doubles as possible_doubles_pass
from inferometer.ingest.commit import commit
from inferometer.ingest.importing import import_paths
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.profiles.prices import load_prices
from inferometer.store import Store, open_store
from inferometer.testing.raw_spans import raw
from inferometer.testing.workload import Workload


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "store.db")) as opened:
        yield opened


def seen(dialect: str, trace: int, begin: float, end: float, *, given: int = 181, out: int = 6, **more: Any) -> RawSpan:
    """One call as Google's ADK or as OpenInference writes it."""
    scope, model, taken, given_back = {
        "adk": ("gcp.vertex.agent", "gen_ai.request.model", "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
        "oi": ("openinference.x", "llm.model_name", "llm.token_count.prompt", "llm.token_count.completion"),
    }[dialect]
    found = raw(1, "call_llm", None, trace=bytes([trace]) * 16, start=begin, end=end, scope=scope, **more)
    found.attributes |= {"openinference.span.kind": "LLM"} if dialect == "oi" else {"gen_ai.operation.name": "chat"}
    found.attributes |= {model: "gemini-2.0-flash", taken: given, given_back: out}
    return found


def pairs(store: Store, spans: list[RawSpan]) -> set[frozenset[int]]:
    """Pairs of traces, by their number, whose calls may be doubles; all calls must count."""
    with store.transaction() as tx:
        commit(tx, normalise(spans))
    rows = list(store.inferences())
    assert len(rows) == len(spans)
    doubles = [(row, other) for row in rows for other in possible_doubles(store, [row]).values()]
    return {frozenset({key_of(row)[0][0], key_of(other)[0][0]}) for row, other in doubles}


def test_call_of_two_instrumentations_in_two_traces_may_be_a_double(store: Store) -> None:
    assert pairs(store, [seen("adk", 1, 0, 2.15), seen("oi", 2, 0.02, 2.145)]) == {frozenset({1, 2})}


@pytest.mark.parametrize(
    "other",
    [
        seen("adk", 2, 0.02, 2.145),
        seen("oi", 2, 0.02, 2.145, out=7),
        seen("oi", 2, 0.02, 2.165),
        seen("oi", 2, 1.2, 2.145),
        seen("oi", 2, 2.2, 4.3),
        seen("oi", 2, 0.02, 2.145, given=180),
    ],
    ids=["same instrumentation", "other answer", "ends later", "much shorter", "after it", "other input"],
)
def test_calls_that_differ_are_no_doubles(store: Store, other: RawSpan) -> None:
    assert pairs(store, [seen("adk", 1, 0, 2.15), other]) == set()


def test_parallel_identical_calls_of_one_instrumentation_are_no_doubles(store: Store) -> None:
    assert pairs(store, [seen("adk", number, 0, 2) for number in range(1, 21)]) == set()


def test_each_call_is_the_double_of_one_other_at_most(store: Store) -> None:
    spans = [seen("adk" if number < 4 else "oi", number, 0.01 * (number > 3), 2) for number in range(1, 7)]
    with store.transaction() as tx:
        commit(tx, normalise(spans))
    rows = [row for row in store.inferences() if key_of(row)[0][0] < 4]
    doubles = possible_doubles(store, rows)
    assert len(doubles) == len({key_of(other) for other in doubles.values()}) == 3


def test_calls_that_an_agent_framework_and_monocle_both_tell_are_named(shared: Path, store: Store) -> None:
    """The file holds each of two calls in two traces; the pairs are found again here by what the file says."""
    path = shared / "data/spans/monocle/test_adk_single_agent.json"
    import_paths(store, [path])
    calls = {}
    for span in json.loads(path.read_bytes()):
        told = {key: value for event in span["events"] for key, value in event["attributes"].items()} | span[
            "attributes"
        ]
        given = told.get("gen_ai.usage.input_tokens", told.get("prompt_tokens"))
        if given is not None:
            moments = [datetime.fromisoformat(span[name]) for name in ("start_time", "end_time")]
            calls[span["context"]["span_id"].removeprefix("0x")] = (span["context"]["trace_id"], given, *moments)
    expected = {
        frozenset({one, other})
        for (one, a), (other, b) in combinations(calls.items(), 2)
        if a[:2] != b[:2] and a[1] == b[1] and max(a[2], b[2]) < min(a[3], b[3])
    }
    assert len(calls) == 4
    assert len(expected) == 2
    nodes = [
        node
        for run in store.runs()
        for root in load_tree(store, load_prices(), run.run_id).roots
        for node in root.walk()
        if node.possible_double is not None
    ]
    named = {
        frozenset({node.span.span_id.hex(), node.possible_double.inference.span_id.hex()})
        for node in nodes
        if node.possible_double is not None
    }
    assert named == expected
    assert len(nodes) == len(calls) == len(list(store.inferences()))
    document = nodes[0].as_dict()["inference"]["possible_double"]
    assert document["run_id"] != nodes[0].inference.placement.run_id  # type: ignore[union-attr]


def test_audit_finds_possible_doubles_with_their_cost() -> None:
    """Three calls told twice, one of them in twenty parallel ones of a single instrumentation."""
    work = Workload()
    for number in range(3):
        for dialect, late_s in (("google-adk", 0.0), ("monocle", 0.02)):
            call = work.call(work.run(), 100 * number + late_s, 2 - 2 * late_s, input_fresh=1000, output=100)
            work.rows[-1].placement.dialect = dialect
            assert call is work.rows[-1].inference
    for _ in range(20):
        work.call(work.run(), 0, 2, input_fresh=1000, output=100)
        work.rows[-1].placement.dialect = "google-adk"
    [one] = possible_doubles_pass(Examined(work.dataset()))
    assert (one.id, one.calls, one.tokens) == ("possible_doubles", 3, 3300)
    assert one.cost_usd == 3 * (1000 * 10 + 100 * 50) / Decimal(1_000_000)
    assert len({(item.trace_id, item.span_id) for item in one.evidence}) == 3


def test_audit_of_one_instrumentation_has_no_doubles() -> None:
    work = Workload()
    for _ in range(5):
        work.call(work.run(), 0, 2, input_fresh=1000, output=100)
    assert possible_doubles_pass(Examined(work.dataset())) == []
