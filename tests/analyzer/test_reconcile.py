"""Bills beside traces: matched, untraced, over-traced and price difference, from every kind of export."""

from __future__ import annotations

import gzip
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
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "USE1-Claude4.5Sonnet-input-tokens-cross-region-global", True),
        ("anthropic.claude-sonnet-4-6-20260501-v1:0", "Claude Sonnet 4.6 (Amazon Bedrock Edition)", True),
        ("claude-sonnet-4-20250514", "Claude Sonnet 4 Usage - Input Tokens (200k-1M context)", True),
        ("amazon.nova-2-lite-v1:0", "USE1-Nova2.0Lite-input-tokens-flex", True),
        ("openai.gpt-oss-120b-1:0", "USE1-openai.gpt-oss-120b-mantle-input-tokens-standard", True),
        ("openai.gpt-oss-20b-1:0", "USE1-openai.gpt-oss-120b-mantle-input-tokens-standard", False),
        ("meta.llama3-1-70b-instruct-v1:0", "USE1-Llama3-1-70B-input-tokens-batch", True),
        ("amazon.nova-pro-v1:0", "APS3-NovaPro-cache-read-input-token-count", True),
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


@pytest.mark.parametrize(
    "content", ["", "{}", "[1, 2]", '{"data": [{"results": [{"odd": 1}]}]}', "a,b\n1,2\n", "{", "[" * 100_000]
)
def test_what_is_no_bill_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_bill(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_bill(tmp_path / "none.json")


CUR = (
    "line_item_usage_start_date,line_item_line_item_type,line_item_product_code,line_item_usage_type,"
    "line_item_usage_amount,pricing_unit,line_item_unblended_cost,line_item_currency_code,product\n"
)


def test_of_an_account_only_lines_about_models_are_read_and_taxes_are_in_no_share(tmp_path: Path) -> None:
    day = f"{DAY}T00:00:00Z"
    sonnet = "USE1-Claude4.5Sonnet"
    text = CUR + (
        f"{day},Usage,AmazonBedrock,{sonnet}-input-tokens-cross-region-global,1000,1K tokens,3.0,USD,\n"
        f"{day},Usage,AmazonBedrock,{sonnet}-cache-read-input-token-count-cross-region-global,1000,1K tokens,0.3,USD,\n"
        f"{day},Tax,AmazonBedrock,{sonnet}-input-tokens,1,,0.66,USD,\n"
        f"{day},Credit,AmazonBedrock,{sonnet}-input-tokens,1,,-2.0,USD,\n"
        f"{day},Usage,AmazonEC2,USE1-BoxUsage:p5.48xlarge,24,Hrs,1200,USD,\n"
    )
    work = traced(input_fresh=1_000_000, cache_read=1_000_000, output=0)
    bill = read_bill(written(tmp_path, text, "cur.csv"))
    found = reconcile(work.dataset().calls, [bill])
    assert found["traced_share"] == pytest.approx(1)
    assert found["billed_usd"] == Decimal("3.3")
    assert found["price_difference_usd"] == 0
    assert found["other_usd"] == Decimal("-1.34")
    assert found["files"][0]["left_out"] == 1
    assert [row["model"] for row in found["models"]] == [MODEL]


def test_a_marketplace_model_is_named_by_its_product_and_its_units_are_not_tokens(tmp_path: Path) -> None:
    product = '"{""product_name"": ""Claude Sonnet 4.5 (Amazon Bedrock Edition)""}"'
    text = CUR + f"{DAY}T00:00:00Z,Usage,abc123,USE1-MP:USE1_InputTokenCount-Units,2,Units,6.0,USD,{product}\n"
    bill = read_bill(written(tmp_path, text, "cur.csv"))
    assert [line.meters for line in bill.lines] == [{}]
    found = reconcile(traced(input_fresh=1_000_000, output=0).dataset().calls, [bill])
    assert found["days"][0]["basis"] == "dollars"
    assert found["traced_share"] == 0.5
    assert found["untraced_usd"] == 3


def test_focus_of_an_account_is_read_by_its_category_and_scaled_by_its_unit(tmp_path: Path) -> None:
    header = (
        "ChargePeriodStart,ChargeCategory,ServiceCategory,BilledCost,BillingCurrency,SkuId,ConsumedQuantity,"
        "ConsumedUnit,x_UsageType\n"
    )
    ai = "AI and Machine Learning"
    text = header + (
        f"{DAY}T00:00:00Z,Usage,{ai},3.00,USD,7J2FQ8Z,1000,1K tokens,USE1-Claude4.5Sonnet-input-tokens\n"
        f"{DAY}T00:00:00Z,Tax,{ai},0.57,USD,,,,\n"
        f"{DAY}T00:00:00Z,Usage,Compute,900,USD,9XK,24,Hours,BoxUsage\n"
    )
    bill = read_bill(written(tmp_path, text, "focus.csv"))
    found = reconcile(traced(input_fresh=1_000_000, output=0).dataset().calls, [bill])
    assert (found["traced_share"], found["billed_usd"], found["other_usd"]) == (1, 3, Decimal("0.57"))
    assert found["files"][0]["left_out"] == 1


def test_openai_cache_writes_are_a_part_of_input_and_a_meter_of_their_own(tmp_path: Path) -> None:
    result = {
        "object": "organization.usage.completions.result",
        "input_tokens": 1000,
        "input_cached_tokens": 600,
        "input_cache_write_tokens": 100,
        "output_tokens": 50,
        "num_model_requests": 3,
        "model": "gpt-5.6",
    }
    page = {"object": "page", "data": [{"object": "bucket", "start_time": START, "results": [result]}]}
    line = read_bill(written(tmp_path, [page, page])).lines[1]
    assert line.meters == {"input_fresh": 300, "cache_read": 600, "cache_write_5m": 100, "output": 50}
    assert line.requests == 3


def test_a_zipped_export_is_read(tmp_path: Path) -> None:
    path = tmp_path / "usage.json.gz"
    path.write_bytes(gzip.compress(json.dumps(anthropic_usage(fresh=7)).encode()))
    assert read_bill(path).lines[0].meters["input_fresh"] == 7
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(InputError, match="cannot be read"):
        read_bill(path)


def test_a_bill_without_a_line_about_models_is_refused(tmp_path: Path) -> None:
    text = CUR + f"{DAY}T00:00:00Z,Usage,AmazonEC2,USE1-BoxUsage,24,Hrs,1200,USD,\n"
    with pytest.raises(InputError, match="1 line about other services"):
        read_bill(written(tmp_path, text, "cur.csv"))
