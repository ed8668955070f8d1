"""Searching runs: what is found, and that a look costs the same however much the store holds."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inferometer.analyzer.runs import list_runs
from inferometer.ingest.commit import commit
from inferometer.profiles.prices import load_prices
from inferometer.schema.ids import derived_span_id, derived_trace_id
from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store, search

START_NS = 1_763_600_000 * 1_000_000_000
CALLS = 2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        yield opened


def fill(store: Store, runs: int, first: int = 0) -> None:
    """Write runs one second apart: an agent with calls of one of three models each."""
    batch = RecordBatch()
    for number in range(first, first + runs):
        trace, root = derived_trace_id(f"run {number}"), derived_span_id(f"run {number}", "root")
        begin = START_NS + number * 1_000_000_000
        batch.spans.append(
            Span(
                trace,
                root,
                f"job {number}",
                SpanKind.AGENT,
                start_ns=begin,
                end_ns=begin + 1,
                session_id=f"s{number % 7}",
            )
        )
        for turn in range(CALLS):
            call = derived_span_id(f"run {number}", str(turn))
            batch.spans.append(
                Span(trace, call, "chat", SpanKind.INFERENCE, root, start_ns=begin + turn, end_ns=begin + 9)
            )
            batch.inferences.append(Inference(trace, call, "openai", ("gpt-4o", "o3", "GPT-5")[number % 3]))
    with store.transaction() as tx:
        commit(tx, batch)


@pytest.mark.parametrize("text", ["job 3", "JOB", "s5", "gpt", "O3", "%", "_", "nobody", "0"])
def test_a_search_finds_the_latest_of_what_a_look_at_every_run_finds(store: Store, text: str) -> None:
    fill(store, 30)
    every = [summary.run.run_id for summary in list_runs(store, load_prices(), search=text)]
    found = store.search_runs(text, 8)
    assert [run.run_id for run in found.runs] == every[:8]
    assert (found.is_cut, found.since_ns) == (len(every) > 8, None)


@pytest.mark.postgres
def test_a_search_finds_the_same_in_postgresql(
    store: Store, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 30)
    with open_store(postgres_url) as other:
        fill(other, 30)
        for spans in (search.SEARCHED_SPANS, 40):
            monkeypatch.setattr(search, "SEARCHED_SPANS", spans)
            for text in ("job 3", "JOB", "GPT", "%", "nobody", "s5"):
                assert other.search_runs(text, 8) == store.search_runs(text, 8), (spans, text)
        known = [run.run_id for run in store.latest_runs(Selection(), 5)]
        assert [run.run_id for run in other.latest_runs(Selection(), 5)] == known
        assert other.count_run_spans(known) == store.count_run_spans(known)


def test_beyond_what_a_look_may_read_it_says_how_far_it_looked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(store, 30)
    monkeypatch.setattr(search, "SEARCHED_SPANS", 10 * (CALLS + 1))
    found = store.search_runs("job", 50)
    assert found.since_ns is not None
    assert {run.start_ns >= found.since_ns for run in found.runs if run.start_ns is not None} == {True}
    assert [run.name for run in found.runs] == [f"job {number}" for number in range(29, 29 - len(found.runs), -1)]
    assert 9 <= len(found.runs) <= 11
    assert store.search_runs("job 1", 50).runs == []


def steps(store: Store, text: str) -> int:
    """Return how many hundred instructions of SQLite's machine a search takes."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    with store.reading() as connection:
        driver: Any = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_progress_handler(count, 100)
        search.search_runs(connection, text, 50)
        driver.set_progress_handler(None, 0)
    return taken


@pytest.mark.parametrize("text", ["nobody", "job", "gpt"])
def test_a_search_costs_no_more_however_much_the_store_holds(
    store: Store, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 200)
    everything = steps(store, "nobody")
    monkeypatch.setattr(search, "SEARCHED_SPANS", 100 * (CALLS + 1))
    few = steps(store, text)
    fill(store, 800, first=200)
    assert few <= steps(store, text) <= 1.1 * few + 3
    monkeypatch.undo()
    assert steps(store, "nobody") > 4 * everything


def test_spans_of_runs_are_counted_by_run(store: Store) -> None:
    fill(store, 3)
    known = [run.run_id for run in store.runs()]
    assert store.count_run_spans([*known, "none"]) == {**dict.fromkeys(known, CALLS + 1), "none": 0}
