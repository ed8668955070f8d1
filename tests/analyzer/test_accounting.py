from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from inferometer.analyzer.accounting import METERS, Accounting, account
from inferometer.ingest.commit import commit
from inferometer.profiles.prices import PriceList, load_prices
from inferometer.reports.terminal import print_accounting
from inferometer.schema.errors import UnknownNameError
from inferometer.schema.ids import derived_span_id, derived_trace_id
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Charge,
    Decisions,
    Dependency,
    Inference,
    InferenceDecision,
    Operation,
    Purpose,
    RecordBatch,
    Run,
    Span,
    SpanKind,
    ToolCall,
    ToolCallDecision,
    UsageSource,
)
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store

DAY_NS = 86_400 * 1_000_000_000
START_NS = 1_763_600_000 * 1_000_000_000
MODELS = [("openai", "gpt-4o"), ("anthropic", "claude-sonnet-4-5"), ("vllm", "my-own-model")]
GROUPINGS = (
    *("model", "provider", "agent", "tool", "run", "session", "user", "purpose", "service", "day"),
    "attribute:team",
)


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return load_prices()


@pytest.fixture
def store(tmp_path: Path):
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        yield opened


def fill(store: Store, runs: int = 6, weight: float | None = None, seed: int = 1, size: float = 1.0) -> list[Inference]:
    """Write runs of an agent that calls, uses a tool and calls again; return the billable calls."""
    rnd = random.Random(seed)
    batch, decisions = RecordBatch(), Decisions()
    for number in range(runs):
        name = f"{seed}-{number}"
        trace, root = derived_trace_id(name), derived_span_id(name, "root")
        begin = START_NS + number * DAY_NS // 2
        run_id = f"{seed:08x}{number:08x}"
        ids = [derived_span_id(name, part) for part in ("first", "tool", "second", "roll-up")]
        spans = [Span(trace, root, "agent", SpanKind.AGENT, start_ns=begin, weight=weight)]
        kinds = (SpanKind.INFERENCE, SpanKind.TOOL, SpanKind.INFERENCE, SpanKind.INFERENCE)
        for place, (span_id, kind) in enumerate(zip(ids, kinds, strict=True)):
            start = begin + place * 10
            spans.append(Span(trace, span_id, "x", kind, root, start_ns=start, end_ns=start + 10, weight=weight))
        for span in spans:
            span.tags = {"team": f"team-{number % 2}"}
        batch.spans += spans
        provider, model = MODELS[number % 3]
        for span_id in (ids[0], ids[2], ids[3]):
            scale = size * rnd.uniform(0.5, 2)
            meters = Meters(
                input_fresh=round(1000 * scale),
                cache_read=round(5000 * scale),
                cache_write_5m=round(700 * scale) if number % 2 else None,
                output=round(300 * scale),
                reasoning=round(100 * scale),
            )
            call = Inference(trace, span_id, provider, model, model, meters=meters, usage_source=UsageSource.PROVIDER)
            batch.inferences.append(call)
            edges = [Dependency(ids[0], gap_ns=10)] if span_id == ids[2] else []
            billable = span_id != ids[3]
            decisions.inferences.append(
                InferenceDecision(trace, span_id, billable, None, [], f"agent-{number % 2}", edges)
            )
        batch.tool_calls.append(ToolCall(trace, ids[1], "search" if number % 2 else "read", duration_ns=10))
        decisions.tool_calls.append(ToolCallDecision(trace, ids[1], None, [], f"agent-{number % 2}"))
        batch.charges.append(Charge(trace, ids[1], "search", Decimal(2), "call", Decimal("0.005")))
        decisions.runs.append(
            Run(run_id, trace, root, "agent", None, f"session-{number // 2}", f"user-{number % 3}", Purpose.SERVE)
        )
        decisions.run_ids |= {(span.trace_id, span.span_id): run_id for span in spans}
    with store.transaction() as tx:
        tx.write(batch)
        tx.apply(decisions)
    dropped = {(one.trace_id, one.span_id) for one in decisions.inferences if not one.billable}
    return [call for call in batch.inferences if (call.trace_id, call.span_id) not in dropped]


def wanted_cost(calls: list[Inference], prices: PriceList) -> Decimal:
    return sum((prices.price_call(call, START_NS).list_cost_usd or Decimal(0) for call in calls), start=Decimal(0))


@pytest.mark.parametrize("by", GROUPINGS)
def test_groups_add_up_to_the_total_however_they_are_cut(store: Store, prices: PriceList, by: str) -> None:
    calls = fill(store)
    accounting = account(store, by=by, prices=prices)
    total = accounting.total
    assert total.inferences == len(calls) == 12
    assert total.runs == 6
    assert total.cost_usd == wanted_cost(calls, prices)
    assert total.charges_usd == Decimal("0.06")
    assert total.unpriced == 4
    for name in METERS:
        parts = [group.meters[name] or 0 for group in accounting.groups]
        assert sum(parts) == (total.meters[name] or 0) == sum(getattr(call.meters, name) or 0 for call in calls)
    for name in ("inferences", "unpriced", "estimated", "charges", "observed"):
        assert sum(getattr(group, name) for group in accounting.groups) == getattr(total, name)
    for name in ("cost_usd", "charges_usd"):
        assert sum((getattr(group, name) or 0 for group in accounting.groups), start=Decimal(0)) == getattr(total, name)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("model", {"gpt-4o", "claude-sonnet-4-5", "my-own-model", None}),
        ("agent", {"agent-0", "agent-1"}),
        ("tool", {"search", "read", None}),
        ("session", {"session-0", "session-1", "session-2"}),
        ("user", {"user-0", "user-1", "user-2"}),
        ("purpose", {"serve"}),
        ("day", {"2025-11-20", "2025-11-21", "2025-11-22"}),
        ("attribute:team", {"team-0", "team-1"}),
        ("service", {None}),
    ],
)
def test_groups_have_the_keys_asked_for(store: Store, prices: PriceList, by: str, keys: set[str | None]) -> None:
    fill(store)
    assert {group.key for group in account(store, by=by, prices=prices).groups} == keys


def test_a_call_after_a_tool_belongs_to_the_tool_whose_result_it_reads(store: Store, prices: PriceList) -> None:
    calls = fill(store, runs=2)
    groups = {group.key: group for group in account(store, by="tool", prices=prices).groups}
    assert groups["read"].cost_usd == wanted_cost([calls[1]], prices)
    assert groups["search"].cost_usd == wanted_cost([calls[3]], prices)
    assert groups[None].cost_usd == wanted_cost([calls[0], calls[2]], prices)
    assert groups["search"].charges_usd == Decimal("0.01")


def test_a_group_without_a_price_is_unknown_not_free(store: Store, prices: PriceList) -> None:
    fill(store)
    groups = {group.key: group for group in account(store, prices=prices).groups}
    own = groups["my-own-model"]
    assert (own.cost_usd, own.unpriced, own.inferences) == (None, 4, 4)
    assert groups["gpt-4o"].recorded_cost_usd is None


def test_an_empty_selection_costs_nothing(store: Store, prices: PriceList) -> None:
    fill(store)
    accounting = account(store, Selection(since_ns=START_NS + 100 * DAY_NS), prices=prices)
    assert accounting.groups == []
    assert (accounting.total.cost_usd, accounting.total.inferences) == (0, 0)


def test_the_unknown_grouping_names_the_nearest(store: Store) -> None:
    with pytest.raises(UnknownNameError, match="model"):
        account(store, by="modle")


def test_calls_with_counted_or_estimated_meters_are_counted(store: Store, prices: PriceList) -> None:
    calls = fill(store, runs=1)
    with store.transaction() as tx:
        for source, span in ((UsageSource.COUNTED, b"counted."), (UsageSource.ESTIMATED, b"estimate")):
            tx.write(
                RecordBatch(
                    spans=[Span(calls[0].trace_id, span, "x", SpanKind.INFERENCE)],
                    inferences=[replace(calls[0], span_id=span, usage_source=source)],
                )
            )
    assert account(store, prices=prices).total.estimated == 2


def test_totals_over_sampled_traces_are_weighted(store: Store, prices: PriceList) -> None:
    calls = fill(store, runs=6, weight=10.0)
    total = account(store, prices=prices).total
    assert (total.inferences, total.observed, total.runs, total.unpriced) == (120, 12, 60, 40)
    assert total.cost_usd == 10 * wanted_cost(calls, prices)
    assert total.meters["output"] == 10 * sum(call.meters.output or 0 for call in calls)
    assert total.charges_usd == Decimal("0.6")
    assert total.interval is not None
    interval = total.interval["cost_usd"]
    assert float(wanted_cost(calls, prices)) <= interval.low < float(total.cost_usd) < interval.high


def test_the_interval_of_a_sample_holds_the_true_total_as_often_as_it_says(tmp_path: Path, prices: PriceList) -> None:
    from inferometer.analyzer.estimation import LEVEL, SampledSum

    rnd = random.Random(5)
    hits, rounds = 0, 400
    for _ in range(rounds):
        values = [rnd.lognormvariate(0, 1) for _ in range(400)]
        sample = SampledSum()
        for number, value in enumerate(values):
            if rnd.random() < 0.1:
                for part in (0.25, 0.75):
                    sample.add(number.to_bytes(16, "big"), 10.0, value * part)
        interval = sample.interval()
        hits += interval.low <= sum(values) <= interval.high
    assert LEVEL - 0.06 < hits / rounds < LEVEL + 0.03


def record_costs(store: Store, calls: list[Inference], ratio: Decimal, prices: PriceList) -> None:
    with store.transaction() as tx:
        tx.write(
            RecordBatch(
                spans=[Span(call.trace_id, call.span_id, "x") for call in calls],
                inferences=[
                    replace(call, recorded_cost_usd=(prices.price_call(call, START_NS).list_cost_usd or 0) * ratio)
                    for call in calls
                ],
            )
        )


def findings_of(accounting: Accounting) -> list[tuple[str, str | None]]:
    return [(one.model, one.recorded_over_list and str(one.recorded_over_list)) for one in accounting.price_findings]


def test_a_recorded_cost_that_is_a_multiple_of_list_is_named(store: Store, prices: PriceList) -> None:
    calls = [call for call in fill(store, runs=12) if call.request_model == "gpt-4o"]
    record_costs(store, calls, Decimal(2), prices)
    accounting = account(store, prices=prices)
    [finding] = accounting.price_findings
    assert finding.reason == "recorded cost is 2.000x list for this model in 8 of 8 calls"
    assert (finding.calls, finding.recorded_over_list) == (8, 2)
    assert finding.recorded_usd == 2 * finding.list_usd


def test_recorded_costs_that_are_right_are_no_finding(store: Store, prices: PriceList) -> None:
    calls = [call for call in fill(store, runs=12) if call.request_model == "gpt-4o"]
    record_costs(store, calls, Decimal("1.000000001"), prices)
    assert account(store, prices=prices).price_findings == []


def test_a_recorded_cost_that_forgets_the_cache_is_explained(store: Store, prices: PriceList) -> None:
    calls = [call for call in fill(store, runs=12) if call.request_model == "gpt-4o"]
    flat = [
        replace(call, meters=Meters(input_fresh=call.meters.input_total, output=call.meters.output)) for call in calls
    ]
    costs = {call.span_id: prices.price_call(call, START_NS).list_cost_usd for call in flat}
    with store.transaction() as tx:
        tx.write(
            RecordBatch(
                spans=[Span(call.trace_id, call.span_id, "x") for call in calls],
                inferences=[replace(call, recorded_cost_usd=costs[call.span_id]) for call in calls],
            )
        )
    [finding] = account(store, prices=prices).price_findings
    assert finding.reason.endswith("it prices cached tokens as fresh input")


def test_a_single_wrong_cost_is_no_system(store: Store, prices: PriceList) -> None:
    calls = [call for call in fill(store, runs=12) if call.request_model == "gpt-4o"]
    record_costs(store, calls[1:], Decimal(1), prices)
    record_costs(store, calls[:1], Decimal(3), prices)
    [finding] = account(store, prices=prices).price_findings
    assert finding.recorded_over_list is None
    assert finding.reason == "recorded cost differs from list in 1 of 8 calls"


def test_pi_sessions_cost_what_they_recorded(store: Store, prices: PriceList, shared: Path) -> None:
    from inferometer.ingest.importing import import_paths

    import_paths(store, [str(shared / "data" / "sessions" / "pi-mono")])
    total = account(store, prices=prices).total
    assert total.inferences == 453
    assert total.cost_usd == total.recorded_cost_usd == Decimal("30.3301977")


def test_list_contracted_and_effective_cost_are_told_apart(store: Store, tmp_path: Path) -> None:
    calls = fill(store)
    file = tmp_path / "prices.toml"
    file.write_text("""
        [contract]
        discount = 0.5
        [[credits]]
        name = "gift"
        provider = "anthropic"
        amount_usd = 0.01
        [tools.read]
        usd_per_call = 0.25
    """)
    prices = load_prices(file)
    accounting = account(store, by="provider", prices=prices)
    total = accounting.total
    assert total.cost_usd is not None
    assert total.contracted_cost_usd == total.cost_usd / 2
    assert total.effective_cost_usd == total.contracted_cost_usd - Decimal("0.01")
    groups = {group.key: group for group in accounting.groups}
    assert groups["openai"].effective_cost_usd == groups["openai"].contracted_cost_usd
    [gift] = accounting.agreements
    assert (gift.name, gift.used_usd, gift.unused_usd) == ("gift", Decimal("0.01"), 0)
    # tool calls that carry a charge of their own are not charged again
    assert total.charges == len(calls) / 2


def test_a_tool_with_a_price_is_charged_where_no_span_carries_a_charge(store: Store, tmp_path: Path) -> None:
    trace, tool = derived_trace_id("tool"), derived_span_id("tool")
    with store.transaction() as tx:
        tx.write(
            RecordBatch(spans=[Span(trace, tool, "read", SpanKind.TOOL)], tool_calls=[ToolCall(trace, tool, "read")])
        )
    file = tmp_path / "prices.toml"
    file.write_text("[tools.read]\nusd_per_call = 0.25\n")
    accounting = account(store, by="tool", prices=load_prices(file))
    assert [(group.key, group.charges_usd) for group in accounting.groups] == [("read", Decimal("0.25"))]


def test_langfuse_costs_are_matched_and_the_wrong_ones_named(store: Store, prices: PriceList, shared: Path) -> None:
    from inferometer.ingest.importing import import_paths

    import_paths(store, [str(shared / "data" / "spans" / "langfuse")])
    different = []
    for row in store.inferences():
        recorded, listed = row.inference.recorded_cost_usd, prices.price(row).list_cost_usd
        assert recorded is not None
        assert listed is not None
        if abs(recorded - listed) > Decimal("1e-9"):
            different.append((row.placement.source, row.inference.model))
    assert sorted(different) == [
        ("autogen-2025-06-06.trace.json", "gpt-4o"),
        ("langgraph-python-2025-08-22.trace.json", "gpt-4o-2024-08-06"),
        ("langgraph-python-2025-08-22.trace.json", "gpt-4o-2024-08-06"),
    ]
    reasons = {finding.model: finding.reason for finding in account(store, prices=prices).price_findings}
    assert set(reasons) == {"gpt-4o", "gpt-4o-2024-08-06"}
    assert reasons["gpt-4o-2024-08-06"].endswith("it prices every token alike, at $1 a million")


def test_times_that_count_from_a_recordings_begin_are_no_day(store: Store, prices: PriceList) -> None:
    calls = fill(store, runs=1)
    with store.transaction() as tx:
        span = Span(calls[0].trace_id, b"relative", "x", SpanKind.INFERENCE, start_ns=17 * 10**9)
        tx.write(RecordBatch(spans=[span], inferences=[replace(calls[0], span_id=b"relative")]))
    assert {group.key for group in account(store, by="day", prices=prices).groups} == {"2025-11-20", None}


def test_a_meter_that_some_calls_leave_open_is_marked_as_a_lower_bound(store: Store, prices: PriceList) -> None:
    """gpt-4o has a price for cache reads and none for writes; an embedding has no output."""
    stated = Meters(input_fresh=100, cache_read=50, output=10, reasoning=0)
    calls = [
        ("gpt-4o", Operation.CHAT, stated),
        ("gpt-4o", Operation.CHAT, Meters(input_fresh=100, output=10)),
        ("gpt-4o", Operation.CHAT, Meters(input_fresh=100, cache_read=0)),
        ("text-embedding-3-small", Operation.EMBEDDING, Meters(input_fresh=7)),
        ("claude-sonnet-4-5", Operation.CHAT, Meters(input_fresh=9, cache_read=1, output=1, reasoning=0)),
        ("gpt-4o", Operation.CHAT, Meters()),
    ]
    batch = RecordBatch()
    for place, (model, operation, meters) in enumerate(calls):
        ids = (derived_trace_id(f"open {place}"), derived_span_id("open", str(place)))
        batch.spans.append(Span(*ids, "call", SpanKind.INFERENCE, start_ns=START_NS, end_ns=START_NS + 1))
        provider = "anthropic" if model.startswith("claude") else "openai"
        batch.inferences.append(Inference(*ids, provider, model, operation=operation, meters=meters))
    with store.transaction() as tx:
        commit(tx, batch)
    total = account(store, prices=prices).total
    assert total.meters == {
        "input_fresh": 316,
        "cache_read": 51,
        "cache_write_5m": None,
        "cache_write_1h": None,
        "output": 21,
        "reasoning": 0,
    }
    assert total.meters_open == {
        "input_fresh": 1,  # the last one says nothing
        "cache_read": 2,  # neither does it, and the second
        "cache_write_5m": 2,  # nor the one of Anthropic
        "cache_write_1h": 2,
        "output": 2,
        "reasoning": 3,
    }
    console = Console(file=StringIO(), width=240)
    print_accounting(account(store, prices=prices), console)
    shown = console.file.getvalue().replace("\xa0", " ")  # type: ignore[attr-defined]
    last = next(line for line in shown.splitlines() if line.startswith("total"))
    assert (
        "≈ 316 " in last
    )  # more for the last call, less for the second, of which a part was read from a cache perhaps
    assert "≥ 51 " in last
    assert "≈ $" in last
    assert "cache read: 2 calls may hold more without saying so" in shown
    assert (total.unsplit, total.partial, total.unpriced) == (1, 1, 1)
