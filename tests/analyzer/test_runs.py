from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferometer.analyzer.accounting import account
from inferometer.analyzer.run_tree import load_tree
from inferometer.analyzer.runs import SORTS, RunSummary, list_latest_runs, list_runs, sum_runs
from inferometer.ingest.commit import commit
from inferometer.profiles.prices import PriceList, load_prices
from inferometer.schema.ids import derived_trace_id
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, RecordBatch, Run, Span, SpanKind, Status, UsageSource
from inferometer.schema.rows import InferenceRow, Placement
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store

START_NS = 1_763_600_000 * 1_000_000_000


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return load_prices()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    with open_store(str(tmp_path_factory.mktemp("runs") / "store.sqlite")) as opened:
        yield opened


def add_tree(store: Store, name: str, parents: list[int], tokens: list[int], models: list[str]) -> None:
    """Write one trace: span 0 is an agent, span n hangs under span ``parents[n - 1]``; those with tokens are calls."""
    trace = derived_trace_id(name)
    batch = RecordBatch()
    for place in range(len(parents) + 1):
        is_call = place > 0 and place not in parents and tokens[place] > 0
        kind = SpanKind.INFERENCE if is_call else SpanKind.AGENT if place == 0 else SpanKind.STEP
        parent = None if place == 0 else (parents[place - 1] + 1).to_bytes(8, "big")
        start = START_NS + place * 1000
        span_id = (place + 1).to_bytes(8, "big")
        span = Span(trace, span_id, f"span {place}", kind, parent, start_ns=start, end_ns=start + 500, session_id=name)
        batch.spans.append(span)
        if is_call:
            meters = Meters(input_fresh=tokens[place], output=tokens[place] * 7)
            model = models[place % len(models)]
            batch.inferences.append(
                Inference(trace, span_id, None, model, meters=meters, usage_source=UsageSource.PROVIDER)
            )
    with store.transaction() as tx:
        commit(tx, batch)


trees = st.lists(st.integers(0, 100), min_size=1, max_size=12).map(
    lambda numbers: [number % (place + 1) for place, number in enumerate(numbers)]
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(trees, st.lists(st.integers(0, 1000), min_size=13, max_size=13), st.uuids())
def test_a_tree_costs_what_its_billable_leaves_cost(store: Store, prices: PriceList, parents, tokens, name) -> None:
    add_tree(store, str(name), parents, tokens, ["gpt-4o", "claude-opus-4-5", "nobody-knows-this"])
    selection = Selection(where=(("session", str(name)),))
    rows = list(store.inferences(selection))
    leaves = [cost for row in rows if (cost := prices.price(row).list_cost_usd) is not None]
    wanted = sum(leaves, start=Decimal(0)) if leaves else None
    for summary in list_runs(store, prices, selection):
        tree = load_tree(store, prices, summary.run.run_id)
        of_roots = [cost for root in tree.roots if (cost := root.cost_usd()) is not None]
        is_known = of_roots or not summary.inferences
        assert (sum(of_roots, start=Decimal(0)) if is_known else None) == summary.cost_usd == tree.summary.cost_usd
        assert sum(len(root.walk()) for root in tree.roots) == len(store.spans_of_run(summary.run.run_id))
    total = account(store, selection, prices=prices).total
    assert total.cost_usd == (wanted if rows else 0)
    assert sum(summary.inferences for summary in list_runs(store, prices, selection)) == len(rows)


def test_a_run_without_calls_used_nothing_and_one_whose_calls_say_nothing_an_unknown_amount(prices: PriceList) -> None:
    summary = RunSummary(Run("ab", bytes(16), b"rootspan", "agent"))
    assert (summary.tokens, summary.cost_usd) == (0, 0)
    silent = Inference(bytes(16), b"callspan", "openai", "gpt-4o")
    row = InferenceRow(silent, Placement("ab", None, 0, 1, Status.OK))
    summary.add(row, prices.price(row))
    assert (summary.inferences, summary.tokens, summary.cost_usd, summary.unpriced) == (1, None, None, 1)


def test_runs_of_unknown_cost_come_last_in_every_order(tmp_path: Path, prices: PriceList) -> None:
    with open_store(str(tmp_path / "store.sqlite")) as own:
        add_tree(own, "small", [0], [0, 10], ["gpt-4o"])
        add_tree(own, "unknown", [0], [0, 99], ["nobody-knows-this"])
        add_tree(own, "large", [0, 0], [0, 10, 10], ["gpt-4o"])
        for sort in SORTS:
            sessions = [summary.run.session_id for summary in list_runs(own, prices, sort=sort)]
            assert sorted(sessions, key=str) == ["large", "small", "unknown"]
        by_cost = [summary.run.session_id for summary in list_runs(own, prices, sort="cost")]
        assert by_cost == ["large", "small", "unknown"]


def test_the_latest_runs_read_one_by_one_have_the_sums_of_all_runs_read_at_once(
    tmp_path: Path, prices: PriceList
) -> None:
    with open_store(str(tmp_path / "store.sqlite")) as own:
        for place, model in enumerate(["gpt-4o", "nobody-knows-this", "gpt-4o"]):
            add_tree(own, f"run {place}", [0, 0], [0, 10, 20 * place], [model])
        for chosen in (Selection(), Selection(where=(("model", "gpt-4o"),))):
            every = list_runs(own, prices, chosen)
            latest, of = list_latest_runs(own, prices, chosen, 2)
            assert ([summary.as_dict() for summary in latest], of) == (
                [summary.as_dict() for summary in every[:2]],
                len(every),
            )


def test_a_run_longer_than_may_be_read_is_left_unsummed_and_says_so(tmp_path: Path, prices: PriceList) -> None:
    with open_store(str(tmp_path / "store.sqlite")) as own:
        add_tree(own, "short", [0], [0, 10], ["gpt-4o"])
        add_tree(own, "long", [0] * 9, [0] + [10] * 9, ["gpt-4o"])
        runs = sorted(own.runs(), key=lambda run: str(run.session_id))
        sums = sum_runs(own, prices, runs, max_spans=5)
        assert [(one.run.session_id, one.is_summed, one.inferences) for one in sums] == [
            ("long", False, 0),
            ("short", True, 1),
        ]


def test_a_sum_that_leaves_calls_out_is_told_from_a_whole_one(prices: PriceList) -> None:
    summary = RunSummary(Run("ab", bytes(16), b"rootspan", "agent"))
    place = Placement("ab", None, START_NS, START_NS + 1, Status.OK)
    for meters in (Meters(input_fresh=5, output=5), Meters(input_fresh=5), Meters()):
        row = InferenceRow(Inference(bytes(16), b"callspan", "openai", "gpt-4o", meters=meters), place)
        summary.add(row, prices.price(row))
    found = summary.as_dict()
    assert (found["usage_open"], found["partial"], found["unpriced"]) == (2, 1, 1)
