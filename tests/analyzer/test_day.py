from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from inferometer.analyzer.accounting import account
from inferometer.analyzer.day import DAY_NS, MINUTE_NS, DayBook
from inferometer.ingest.commit import commit
from inferometer.profiles.prices import PriceList, load_prices
from inferometer.schema.ids import derived_span_id, derived_trace_id
from inferometer.schema.meters import Meters
from inferometer.schema.records import Charge, Inference, RecordBatch, Span, SpanKind, ToolCall, UsageSource
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store
from inferometer.store.upkeep import purge

SINCE_NS = 1_763_596_800 * 1_000_000_000
MODELS = (("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("vllm", "my-own-model"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(str(tmp_path / "store.sqlite")) as store:
        yield store


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> PriceList:
    file = tmp_path_factory.mktemp("prices") / "prices.toml"
    file.write_text('[tools.search]\nusd_per_call = "0.02"\n')
    return load_prices(file)


def run_of_calls(name: str, start_ns: int, source: random.Random, team: str = "shop") -> RecordBatch:
    """An agent's run: calls over some minutes, a tool call with a price, a charge."""
    trace_id = derived_trace_id(name)
    root = Span(
        trace_id, derived_span_id(name, "root"), "agent", SpanKind.AGENT, start_ns=start_ns, end_ns=start_ns + 9
    )
    root.agent_name, root.tags = f"agent-{name[-1]}", {"team": team}
    batch = RecordBatch(spans=[root])
    for number in range(source.randrange(1, 5)):
        begin = start_ns + source.randrange(3 * MINUTE_NS)
        ids = (trace_id, derived_span_id(name, str(number)))
        kind = SpanKind.TOOL if number == 3 else SpanKind.INFERENCE
        batch.spans.append(
            Span(*ids, "call", kind, root.span_id, start_ns=begin, end_ns=begin + source.randrange(10**9))
        )
        if kind is SpanKind.TOOL:
            batch.tool_calls.append(ToolCall(*ids, "search"))
            continue
        provider, model = source.choice(MODELS)
        meters = Meters(
            input_fresh=source.randrange(10**5), cache_read=source.randrange(10**4), output=source.randrange(10**4)
        )
        batch.inferences.append(Inference(*ids, provider, model, meters=meters, usage_source=UsageSource.PROVIDER))
        if number == 1:
            batch.charges.append(Charge(*ids, "web_search", Decimal(2), "call", Decimal("0.01")))
    return batch


def write(store: Store, batch: RecordBatch) -> None:
    with store.transaction() as tx:
        commit(tx, batch, SINCE_NS + DAY_NS)


def look(store: Store, book: DayBook) -> int:
    return book.look(SINCE_NS, store.count_spans(SINCE_NS, SINCE_NS + DAY_NS, MINUTE_NS))


def assert_sums_are_those_of_the_whole(
    store: Store, prices: PriceList, book: DayBook, where: tuple[tuple[str, str], ...] = ()
) -> None:
    selection = Selection(SINCE_NS, SINCE_NS + DAY_NS, where)
    for by in ("model", "agent"):
        whole, sums = account(store, selection, by, prices), book.sums(by)
        assert [group.as_dict() for group in sums.groups] == [group.as_dict() for group in whole.groups]
        assert sums.total.as_dict() == whole.total.as_dict()


@pytest.mark.parametrize("where", [(), (("tag.team", "shop"),)])
def test_sums_of_the_minutes_are_those_of_the_day(
    store: Store, prices: PriceList, where: tuple[tuple[str, str], ...]
) -> None:
    source = random.Random(4)
    book = DayBook(store, prices, ("model", "agent"), where)
    for number in range(30):
        start_ns = SINCE_NS + source.randrange(-MINUTE_NS, DAY_NS)
        write(store, run_of_calls(f"run-{number}", start_ns, source, source.choice(("shop", "help"))))
        if number % 5 == 0:
            look(store, book)
            assert_sums_are_those_of_the_whole(store, prices, book, where)
    look(store, book)
    assert_sums_are_those_of_the_whole(store, prices, book, where)
    assert book.sums("model").total.charges
    shown = sum((sums.cost_usd for sums in book.minutes.values()), start=Decimal(0))
    assert shown == book.sums("model").total.cost_usd


def test_another_look_reads_what_changed_and_one_minute_more(store: Store, prices: PriceList) -> None:
    source = random.Random(5)
    for number in range(20):
        write(store, run_of_calls(f"run-{number}", SINCE_NS + number * 30 * MINUTE_NS, source))
    book = DayBook(store, prices, ("model", "agent"))
    assert look(store, book) == len(book.minutes) >= 20
    assert look(store, book) == 1
    late = run_of_calls("run-late", SINCE_NS + 30 * MINUTE_NS, source)
    write(store, late)
    touched = {(span.start_ns or 0) // MINUTE_NS for span in late.spans}
    assert len(touched) <= look(store, book) <= len(touched) + 1
    assert_sums_are_those_of_the_whole(store, prices, book)


def test_what_changes_in_place_is_met_in_turn(store: Store, prices: PriceList) -> None:
    source = random.Random(6)
    for number in range(6):
        write(store, run_of_calls(f"run-{number}", SINCE_NS + number * 30 * MINUTE_NS, source))
    book = DayBook(store, prices, ("model", "agent"))
    look(store, book)
    before = book.sums("model").total.inferences
    [call] = [row.inference for row in store.inferences(Selection())][:1]
    with store.transaction() as tx:
        tx.remove_calls([(call.trace_id, call.span_id)])
    for _ in range(len(book.minutes)):
        look(store, book)
    assert book.sums("model").total.inferences == before - 1
    assert_sums_are_those_of_the_whole(store, prices, book)


def test_what_is_erased_is_gone_at_the_next_look(store: Store, prices: PriceList) -> None:
    source = random.Random(7)
    for number in range(4):
        write(store, run_of_calls(f"run-{number}", SINCE_NS + number * 60 * MINUTE_NS, source))
    book = DayBook(store, prices, ("model", "agent"))
    look(store, book)
    purge(store, before_ns=SINCE_NS + 90 * MINUTE_NS)
    look(store, book)
    assert_sums_are_those_of_the_whole(store, prices, book)
    assert min(book.minutes) >= (SINCE_NS + 90 * MINUTE_NS) // MINUTE_NS


def test_a_new_day_begins_with_nothing(store: Store, prices: PriceList) -> None:
    write(store, run_of_calls("run-1", SINCE_NS, random.Random(1)))
    book = DayBook(store, prices, ("model",))
    look(store, book)
    assert book.sums("model").total.inferences
    book.look(SINCE_NS + DAY_NS, {})
    assert book.sums("model").total.inferences == 0
    assert book.minutes == {}


def test_memory_does_not_grow_with_the_calls_of_a_minute(store: Store, prices: PriceList) -> None:
    peaks = []
    for part, calls in enumerate((3000, 9000)):
        trace_id, since_ns = derived_trace_id(f"busy-{part}"), SINCE_NS + part * DAY_NS
        batch = RecordBatch()
        for number in range(calls):
            span_id = derived_span_id(str(part), str(number))
            batch.spans.append(Span(trace_id, span_id, "call", SpanKind.INFERENCE, start_ns=since_ns + number))
            meters = Meters(input_fresh=5, output=1)
            batch.inferences.append(Inference(trace_id, span_id, "openai", "gpt-4o", meters=meters))
        with store.transaction() as tx:
            tx.write(batch)
        del batch
        numbers = store.count_spans(since_ns, since_ns + DAY_NS, MINUTE_NS)
        DayBook(store, prices, ("model", "agent")).look(since_ns, numbers)  # fills caches of prices and queries
        tracemalloc.start()
        DayBook(store, prices, ("model", "agent")).look(since_ns, numbers)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]  # three times the calls
