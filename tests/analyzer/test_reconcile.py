"""Bills beside traces: matched, untraced, over-traced and price difference, from every kind of export."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from inferometer.analyzer.reconcile import reconcile
from inferometer.analyzer.reconcile_bill import meter_of, read_bill, signature
from inferometer.schema.errors import InputError
from inferometer.testing.workload import EPOCH_NS, FlatPrices, Workload

MODEL = "claude-sonnet-4-5-20250929"
PRICES = FlatPrices({MODEL: {"input": "3", "cache_read": "0.3", "cache_write_5m": "3.75", "output": "15"}})
DAY = "2026-05-28"
START = EPOCH_NS // 1_000_000_000


def traced(**tokens: int) -> Workload:
    work = Workload(PRICES)
    work.call(work.run(), model=MODEL, **tokens)
    return work


def written(folder: Path, content: Any, name: str = "bill.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def anthropic_usage(**meters: int) -> dict[str, Any]:
    result = {
        "uncached_input_tokens": meters.get("fresh", 0),
        "cache_creation": {"ephemeral_5m_input_tokens": meters.get("write", 0), "ephemeral_1h_input_tokens": 0},
        "cache_read_input_tokens": meters.get("read", 0),
        "output_tokens": meters.get("output", 0),
        "model": MODEL,
    }
    return {"data": [{"starting_at": f"{DAY}T00:00:00Z", "ending_at": "2026-05-29T00:00:00Z", "results": [result]}]}


def anthropic_cost(cents: str) -> dict[str, Any]:
    result = {
        "currency": "USD",
        "amount": cents,
        "description": "Claude Sonnet 4.5 Usage - Input Tokens",
        "model": None,
    }
    return {"data": [{"starting_at": f"{DAY}T00:00:00Z", "results": [result]}]}


def test_usage_and_cost_of_one_provider_complete_each_other(tmp_path: Path) -> None:
    work = traced(input_fresh=1_000_000, output=0)
    bills = [
        read_bill(written(tmp_path, anthropic_usage(fresh=2_000_000), "usage.json")),
        read_bill(written(tmp_path, anthropic_cost("660"), "cost.json")),
    ]
    found = reconcile(work.dataset().calls, bills)
    # half of the tokens were traced; the bill charged 3.30 a million where the list says 3
    assert found["traced_share"] == pytest.approx(0.5)
    assert found["billed_usd"] == Decimal("6.6")
    assert found["traced_usd"] == Decimal("3.3")
    assert found["untraced_usd"] == Decimal("3.3")
    assert found["price_difference_usd"] == Decimal("0.3")
    assert found["models"][0]["model"] == MODEL


def test_tokens_alone_are_valued_at_the_list(tmp_path: Path) -> None:
    work = traced(input_fresh=1_000_000, output=0)
    found = reconcile(work.dataset().calls, [read_bill(written(tmp_path, anthropic_usage(fresh=4_000_000)))])
    assert found["billed_at_list_price"] is True
    assert found["traced_share"] == pytest.approx(0.25)
    assert found["note"]


def test_a_second_emitter_shows_as_over_traced(tmp_path: Path) -> None:
    work = traced(input_fresh=2_000_000, output=0)
    bills = [
        read_bill(written(tmp_path, anthropic_usage(fresh=1_000_000), "usage.json")),
        read_bill(written(tmp_path, anthropic_cost("300"), "cost.json")),
    ]
    found = reconcile(work.dataset().calls, bills)
    assert found["traced_share"] == pytest.approx(1)
    assert found["over_traced_usd"] == Decimal(3)
    assert found["price_difference_usd"] == 0


def test_a_model_that_was_never_traced_is_untraced_whole(tmp_path: Path) -> None:
    costs = {
        "data": [
            {
                "object": "bucket",
                "start_time": START,
                "results": [{"amount": {"value": 4.5, "currency": "usd"}, "line_item": "gpt-4o-2024-08-06, input"}],
            }
        ]
    }
    found = reconcile(traced(input_fresh=1_000_000, output=0).dataset().calls, [read_bill(written(tmp_path, costs))])
    assert found["untraced_usd"] == Decimal("4.5")
    assert found["traced_share"] == 0
    assert found["over_traced_usd"] == 3


def test_openai_usage_takes_cached_tokens_out_of_input(tmp_path: Path) -> None:
    usage = {
        "data": [
            {
                "start_time": START,
                "results": [{"input_tokens": 1000, "input_cached_tokens": 800, "output_tokens": 50, "model": "gpt-4o"}],
            }
        ]
    }
    line = read_bill(written(tmp_path, usage)).lines[0]
    assert line.meters == {"input_fresh": 200, "cache_read": 800, "output": 50}
    assert line.day is not None
    assert line.day.isoformat() == DAY


def test_focus_and_aws_reports_are_read(tmp_path: Path) -> None:
    focus = (
        "ChargePeriodStart,BilledCost,BillingCurrency,SkuId,ConsumedQuantity,ConsumedUnit,SkuMeter\n"
        f"{DAY}T00:00:00Z,3.00,USD,{MODEL},1000000,Tokens,Input Tokens\n"
    )
    aws = (
        "lineItem/UsageStartDate,lineItem/UsageType,lineItem/UsageAmount,pricing/unit,lineItem/UnblendedCost,"
        f"lineItem/CurrencyCode\n{DAY}T00:00:00Z,USE1-Claude4.5Sonnet-input-tokens,1000,1K tokens,3.0,USD\n"
    )
    calls = traced(input_fresh=1_000_000, output=0).dataset().calls
    for name, text in (("focus.csv", focus), ("aws.csv", aws)):
        found = reconcile(calls, [read_bill(written(tmp_path, text, name))])
        assert found["traced_share"] == pytest.approx(1), name
        assert found["price_difference_usd"] == 0, name


def test_days_that_no_bill_covers_are_left_out(tmp_path: Path) -> None:
    work = traced(input_fresh=1_000_000, output=0)
    work.call(work.run(10 * 86_400), 10 * 86_400, model=MODEL, input_fresh=5_000_000, output=0)
    found = reconcile(work.dataset().calls, [read_bill(written(tmp_path, anthropic_usage(fresh=1_000_000)))])
    assert found["over_traced_usd"] == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (MODEL, "Claude Sonnet 4.5 Usage - Input Tokens", True),
        (MODEL, "USE1-Claude4.5Sonnet-input-tokens", True),
        ("gpt-4o-2024-08-06", "gpt-4o", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("claude-sonnet-4-5", "claude-opus-4-5", False),
    ],
)
def test_spellings_of_one_model_are_one_model(one: str, other: str, same: bool) -> None:
    assert (signature(one) == signature(other)) is same


def test_line_items_name_their_meter() -> None:
    assert meter_of("gpt-4o, cached input") == "cache_read"
    assert meter_of("Input Tokens, Cache Write (5m)") == "cache_write_5m"
    assert meter_of("Output Tokens") == "output"
    assert meter_of("Support plan") is None


def test_another_currency_needs_a_rate(tmp_path: Path) -> None:
    text = f"ChargePeriodStart,BilledCost,BillingCurrency,SkuId\n{DAY}T00:00:00Z,2,EUR,{MODEL}\n"
    path = written(tmp_path, text, "eur.csv")
    with pytest.raises(InputError, match="--rate"):
        read_bill(path)
    assert read_bill(path, Decimal("1.5")).lines[0].cost_usd == 3


@pytest.mark.parametrize("content", ["", "{}", "[1, 2]", '{"data": [{"results": [{"odd": 1}]}]}', "a,b\n1,2\n", "{"])
def test_what_is_no_bill_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_bill(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_bill(tmp_path / "none.json")
