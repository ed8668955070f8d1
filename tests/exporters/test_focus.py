"""The FOCUS export, held against the requirements of the specification row by row, and against the accounting.

Source: FOCUS 1.2 (github.com/FinOps-Open-Cost-and-Usage-Spec/FOCUS_Spec, specification/columns): a column's content
constraints and the nullability that its normative requirements give for ``ChargeCategory`` "Usage" where
``ChargeClass`` is null, which is what every row of ours is.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from inferometer.analyzer.accounting import account
from inferometer.cli import run
from inferometer.exporters.focus import COLUMNS, FocusCounts, write_focus
from inferometer.ingest.commit import commit
from inferometer.profiles.prices import PriceList, load_prices
from inferometer.schema.ids import derived_span_id, derived_trace_id
from inferometer.schema.meters import Meters
from inferometer.schema.records import (
    Charge,
    Inference,
    RecordBatch,
    Resource,
    Span,
    SpanKind,
    ToolCall,
    UsageSource,
)
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store

SECOND = 1_000_000_000
DECEMBER_NS = 1_764_547_199 * SECOND + 300_000_000
"""2025-11-30T23:59:59.3Z: a call that begins in one billing period and ends in the next."""

PRICES = """
[contract]
discount = 0.25
[[credits]]
name = "gift"
amount_usd = 0.001
[tools.search]
usd_per_call = "0.02"
"""

NEVER_NULL = (
    *("BilledCost", "BillingAccountId", "BillingCurrency", "BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory"),
    *("ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "ListCost"),
    *("InvoiceIssuerName", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName", "ServiceSubcategory"),
    # of usage that is no correction
    *("ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "ListUnitPrice", "PricingCategory"),
    *("PricingQuantity", "PricingUnit", "SkuId", "SkuPriceId", "SkuMeter", "ChargeDescription"),
)
MUST_BE_THERE = (*NEVER_NULL, "BillingAccountName", "ChargeClass")
DATES = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
NUMBERS = (
    *("BilledCost", "ContractedCost", "EffectiveCost", "ListCost", "ConsumedQuantity", "PricingQuantity"),
    *("ListUnitPrice", "ContractedUnitPrice"),
)
ALLOWED = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {"", "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {"Standard", "Dynamic", "Committed", "Other"},
    "ServiceCategory": {"AI and Machine Learning"},
    "ServiceSubcategory": {"Generative AI"},
    "BillingCurrency": {"USD"},
}


def violations(row: dict[str, str]) -> Iterator[str]:
    """Yield each requirement that a row breaks."""
    yield from (f"{name} is absent" for name in MUST_BE_THERE if name not in row)
    yield from (f"{name} is null" for name in NEVER_NULL if not row.get(name))
    yield from (f"{name} is {row[name]}" for name, words in ALLOWED.items() if row[name] not in words)
    yield from (f"{name} is no column id" for name in row if not re.fullmatch(r"(x_)?([A-Z][a-z0-9]*)+", name))
    yield from (f"{name} is {row[name]}" for name in DATES if not re.fullmatch(r"[-0-9]{10}T[:0-9]{8}Z", row[name]))
    yield from (f"{name} is {row[name]}" for name in NUMBERS if not re.fullmatch(r"-?[0-9]+([.][0-9]+)?", row[name]))
    if any(not row[name] for name in (*DATES, *NUMBERS)):
        return
    begin, end, first, last = (row[name] for name in ("ChargePeriodStart", "ChargePeriodEnd", *DATES[:2]))
    if not first <= begin < end or not begin < last or first[8:] != "01T00:00:00Z" or last[8:] != "01T00:00:00Z":
        yield f"{begin} to {end} in {first} to {last}"
    for kind in ("List", "Contracted"):
        product = Decimal(row[f"{kind}UnitPrice"]) * Decimal(row["PricingQuantity"])
        if abs(product - Decimal(row[f"{kind}Cost"])) > Decimal("1e-18"):
            yield f"{kind}Cost is {row[f'{kind}Cost']} and no product {product}"
    if bool(row["SubAccountId"]) != bool(row["SubAccountName"]):
        yield "SubAccountName without SubAccountId, or without a name"
    tags = json.loads(row["Tags"] or "{}")
    if not isinstance(tags, dict) or not all(isinstance(value, (str, int, float, bool)) for value in tags.values()):
        yield f"Tags are {row['Tags']}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Calls across the end of a month, one of them a batch call; tools with and without a price; a call undated."""
    batch = RecordBatch()

    def add(name: str, kind: SpanKind, start_ns: int | None, service: str | None = "shop") -> tuple[bytes, bytes]:
        ids = derived_trace_id(name), derived_span_id(name)
        span = Span(*ids, name, kind, start_ns=start_ns, end_ns=None if start_ns is None else start_ns + SECOND)
        span.tags = {"team": "search", "quoted": 'a "b", c'}
        span.resource = Resource((("service.name", service),)) if service else None
        batch.spans.append(span)
        return ids

    meters = Meters(input_fresh=1_000_003, cache_read=40, cache_write_5m=7, output=57, reasoning=9)
    cases = [("day", DECEMBER_NS, "claude-opus-4-5"), ("undated", 5 * SECOND, "claude-opus-4-5")]
    cases += [("unlisted", DECEMBER_NS, "nobody-knows-this")]
    for name, start_ns, model in cases:
        ids = add(name, SpanKind.INFERENCE, start_ns)
        batch.inferences.append(
            Inference(*ids, "anthropic", model, meters=meters, usage_source=UsageSource.PROVIDER, batch=name == "day")
        )
    ids = add("without a service", SpanKind.INFERENCE, DECEMBER_NS - 40 * SECOND, service=None)
    batch.inferences.append(Inference(*ids, "openai", "gpt-4o", meters=meters, usage_source=UsageSource.PROVIDER))
    for name in ("search", "free"):
        batch.tool_calls.append(ToolCall(*add(name, SpanKind.TOOL, DECEMBER_NS), name))
    ids = add("charged", SpanKind.TOOL, DECEMBER_NS)
    batch.tool_calls.append(ToolCall(*ids, "search"))
    for sku, quantity, price in (("pages", "3", "0.007"), ("none", "0", "1"), ("secret", "1", None)):
        batch.charges.append(Charge(*ids, sku, Decimal(quantity), "page", None if price is None else Decimal(price)))
    with open_store(str(tmp_path / "store.sqlite")) as opened:
        with opened.transaction() as tx:
            commit(tx, batch)
        yield opened


@pytest.fixture
def prices(tmp_path: Path) -> PriceList:
    file = tmp_path / "prices.toml"
    file.write_text(PRICES)
    return load_prices(file)


def exported(store: Store, prices: PriceList) -> tuple[list[dict[str, str]], FocusCounts]:
    target = io.StringIO()
    counts = write_focus(store, Selection(), prices, target)
    return list(csv.DictReader(io.StringIO(target.getvalue()))), counts


def test_every_row_keeps_to_the_specification(store: Store, prices: PriceList) -> None:
    rows, counts = exported(store, prices)
    assert {row["x_TokenType"] for row in rows} == {"input_uncached", "input_cached", "cache_write_5m", "output", ""}
    assert [list(violations(row)) for row in rows] == [[]] * counts.rows
    assert tuple(rows[0]) == COLUMNS


def test_the_check_of_a_row_finds_what_is_wrong_with_it(store: Store, prices: PriceList) -> None:
    row = next(row for row in exported(store, prices)[0] if row["SubAccountId"])
    assert list(violations(row)) == []
    for change in (
        {"ChargePeriodStart": ""},
        {"ListUnitPrice": ""},
        {"ContractedCost": "9"},
        {"ChargePeriodEnd": row["ChargePeriodStart"]},
        {"BilledCost": "1e-7"},
        {"SubAccountName": ""},
        {"Tags": "[]"},
        {"token_type": "x"},
        {"PricingCategory": "Batch"},
    ):
        assert list(violations(row | change)), change


def test_a_row_lies_in_the_month_in_which_its_charge_begins(store: Store, prices: PriceList) -> None:
    rows = exported(store, prices)[0]
    assert rows
    for row in rows:
        assert (row["BillingPeriodStart"], row["BillingPeriodEnd"]) == ("2025-11-01T00:00:00Z", "2025-12-01T00:00:00Z")
        end = datetime.fromisoformat(row["ChargePeriodEnd"])
        assert end <= datetime(2025, 12, 1, 0, 0, 1, tzinfo=UTC)


def test_what_has_no_date_or_no_price_is_left_out_and_counted(
    store: Store, prices: PriceList, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, counts = exported(store, prices)
    # four meters of two calls each but OpenAI's writes, a tool by the user's price, one charge of three pages
    assert counts == FocusCounts(rows=len(rows), undated=1, unpriced=2)
    assert [row["SkuId"] for row in rows if row["x_TokenType"] == ""] == ["pages", "search"]
    path = tmp_path / "focus.csv"
    words = ["export", "--to", "focus", "--store", store.name, "--prices", str(tmp_path / "prices.toml")]
    assert run([*words, "--out", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["counts"] == {
        "rows": len(rows),
        "undated_left_out": 1,
        "unpriced_left_out": 2,
    }
    assert run(words) == 0
    caught = capsys.readouterr()
    assert len(caught.out.splitlines()) == len(rows) + 1
    assert caught.err == f"stdout: {len(rows)} rows, 1 undated left out, 2 unpriced left out\n"


def test_rows_add_up_to_the_accounting_of_dated_calls(store: Store, prices: PriceList) -> None:
    rows, _ = exported(store, prices)
    dated = account(store, Selection(since_ns=DECEMBER_NS - 1000 * SECOND), prices=prices).total
    whole = account(store, prices=prices)
    assert dated.charges_usd == Decimal("0.041")
    calls = [row for row in rows if row["x_TokenType"]]
    assert sum(Decimal(row["ListCost"]) for row in rows) - dated.charges_usd == dated.cost_usd
    assert sum(Decimal(row["ContractedCost"]) for row in calls) == dated.contracted_cost_usd
    [factor] = set(whole.effective_factors.values())
    assert dated.contracted_cost_usd is not None
    effective = sum(Decimal(row["EffectiveCost"]) for row in calls)
    assert abs(effective - dated.contracted_cost_usd * factor) < Decimal("1e-15")
    tokens = sum(Decimal(row["ConsumedQuantity"]) for row in calls)
    assert tokens == (1_000_003 + 40 + 57) * 2 + 7 * len(
        {row["x_TraceId"] for row in calls if "Write" in row["SkuMeter"]}
    )
