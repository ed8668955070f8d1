"""The live page's words: what a search looked through, what a sum leaves out, what was not summed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inferometer.analyzer.day import DAY_NS, MINUTE_NS, DayBook
from inferometer.ingest.commit import commit
from inferometer.profiles.prices import load_prices
from inferometer.reports import live
from inferometer.reports.live import LivePage, build_live_page, read_today, render_live_page, search_runs
from inferometer.reports.numbers import GAP
from inferometer.schema.ids import derived_span_id, derived_trace_id
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind, UsageSource
from inferometer.store import Store, open_store, search

NOW_NS = 1_763_600_000 * 1_000_000_000
PRICES = load_prices()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        yield opened


def add_run(store: Store, name: str, *calls: Meters, model: str = "gpt-4o", start_ns: int = NOW_NS) -> None:
    trace, root = derived_trace_id(name), derived_span_id(name, "root")
    batch = RecordBatch([Span(trace, root, name, SpanKind.AGENT, start_ns=start_ns, end_ns=start_ns + 9)])
    for place, meters in enumerate(calls):
        ids = trace, derived_span_id(name, str(place))
        batch.spans.append(Span(*ids, "chat", SpanKind.INFERENCE, root, start_ns=start_ns + place, end_ns=start_ns + 9))
        batch.inferences.append(Inference(*ids, "openai", model, meters=meters, usage_source=UsageSource.PROVIDER))
    with store.transaction() as tx:
        commit(tx, batch)


def looked(store: Store, text: str = "") -> LivePage:
    since_ns = live.day_start_ns(NOW_NS)
    book = DayBook(store, PRICES, ("model", "agent"))
    book.look(since_ns, store.count_spans(since_ns, since_ns + DAY_NS, MINUTE_NS))
    today = read_today(store, PRICES, book, NOW_NS)
    page = build_live_page(today, found=search_runs(store, PRICES, text) if text else None)
    assert render_live_page(page)
    return page


def test_sums_that_leave_out_tokens_or_prices_are_marked(store: Store) -> None:
    add_run(store, "whole", Meters(input_fresh=2_000_000, cache_read=0, output=0))
    add_run(store, "part", Meters(input_fresh=1_000_000, cache_read=0))
    add_run(store, "unlisted", Meters(input_fresh=10, output=1), model="nobody-knows-this")
    page = looked(store)
    shown = {run.name: (run.tokens, run.cost) for run in page.runs}
    assert shown == {
        "whole": (f"2.0{GAP}M", "$5.00"),
        "part": (f"≥{GAP}1.0{GAP}M", f"≥{GAP}$2.50"),
        "unlisted": ("11", "not priced"),
    }
    spent, _, _, tokens = page.figures
    assert (spent.value, spent.note) == (f"≥{GAP}$7.50", "1 call without a price")
    assert tokens.value == f"≥{GAP}3.0{GAP}M"


def test_a_cost_that_had_to_assume_something_is_about_and_says_why(store: Store) -> None:
    add_run(store, "silent", Meters(input_fresh=1_000_000, output=0))
    page = looked(store)
    assert (page.figures[0].value, page.figures[0].note) == (
        f"≈{GAP}$2.50",
        "1 call priced as if nothing came from a cache",
    )
    assert page.runs[0].cost == page.models[0].cost == f"≈{GAP}$2.50"


def test_a_search_says_how_many_it_found(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        add_run(store, f"job {number}", Meters(input_fresh=1, output=1), start_ns=NOW_NS + number)
    assert looked(store).runs_note == "3 runs today"
    assert looked(store, "job 1").runs_note == "1 run found for “job 1”"
    assert looked(store, "nothing like it").runs_note == "0 runs found for “nothing like it”"
    monkeypatch.setattr(live, "SHOWN_RUNS", 2)
    page = looked(store, "job")
    assert page.runs_note == "the latest 2 runs found for “job”"
    assert [run.name for run in page.runs] == ["job 2", "job 1"]
    assert looked(store).runs_note == "3 runs today, the latest 2 shown"


def test_a_search_of_a_large_store_says_how_far_back_it_looked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        add_run(store, f"job {number}", Meters(input_fresh=1, output=1), start_ns=NOW_NS + number * 60 * 1_000_000_000)
    monkeypatch.setattr(search, "SEARCHED_SPANS", 3)
    assert looked(store, "job").runs_note == (
        "2 runs found for “job” among those since 2025-11-20 00:55:20 UTC; inferometer runs --search looks through all"
    )


def test_a_run_that_is_too_long_to_be_summed_in_a_look_is_shown_without_its_sums(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_run(store, "long", *[Meters(input_fresh=1, output=1)] * 9)
    add_run(store, "short", Meters(input_fresh=1, output=1), start_ns=NOW_NS - 1)
    monkeypatch.setattr(live, "SUMMED_SPANS", 5)
    page = looked(store)
    assert {run.name: (run.calls, run.tokens, run.cost) for run in page.runs} == {
        "long": ("open to see", "", ""),
        "short": ("1", "2", f"≈{GAP}under $0.0001"),
    }
