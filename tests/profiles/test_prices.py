from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import Usage

from inferometer.profiles.prices import PriceList, load_prices
from inferometer.profiles.prices.cards import Rate, RateCard, price_meters
from inferometer.profiles.prices.pricing import UNKNOWN_SPLIT
from inferometer.profiles.prices.published import Listed, PublishedPrices
from inferometer.schema.meters import Meters
from inferometer.schema.records import Charge, Inference, Operation, Status
from inferometer.schema.rows import InferenceRow, Placement


@pytest.fixture(scope="module")
def prices() -> PriceList:
    return load_prices()


def ns(year: int, month: int, day: int, hour: int = 12) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp()) * 1_000_000_000


NOW = ns(2026, 11, 20)


def call(model: str | None, provider: str | None = None, **values: Any) -> Inference:
    meters = values.pop("meters", Meters(input_fresh=1_000_000, cache_read=0, output=1_000_000))
    return Inference(bytes(16), bytes(8), provider=provider, response_model=model, meters=meters, **values)


def cost(prices: PriceList, inference: Inference, start_ns: int | None = NOW) -> Decimal | None:
    return prices.price_call(inference, start_ns).list_cost_usd


@pytest.mark.parametrize("when", [datetime(2025, 3, 1, 12, tzinfo=UTC), datetime(2026, 11, 20, 3, tzinfo=UTC)])
@pytest.mark.parametrize("context", [{}, {"processing": "batch"}, {"service_tier": "priority"}])
def test_every_listed_model_costs_what_the_list_itself_says(when: datetime, context: dict[str, str]) -> None:
    published = PublishedPrices()
    compared = 0
    for provider in get_snapshot().providers:
        for model in provider.models:
            card = published.card(Listed(provider, model, True), when, context)
            if isinstance(card, str) or any("discount is applied" in note for note in card.notes):
                continue
            for size in (1, 100):
                meters = Meters(
                    input_fresh=1701 * size,
                    cache_read=2003 * size,
                    cache_write_5m=311 * size,
                    cache_write_1h=97 * size,
                    output=503 * size,
                    reasoning=101 * size,
                )
                usage = Usage(
                    input_tokens=meters.input_total,
                    cache_read_tokens=meters.cache_read,
                    cache_write_tokens=408 * size,
                    cache_write_5m_tokens=meters.cache_write_5m,
                    cache_write_1h_tokens=meters.cache_write_1h,
                    output_tokens=meters.output,
                    output_reasoning_tokens=meters.reasoning,
                )
                wanted = model.calc_price(usage, provider, genai_request_timestamp=when, price_context=context)
                found, _ = price_meters(meters, card)
                assert sum(found.values()) == wanted.total_price, (provider.id, model.id)
                compared += 1
    assert compared > 3000


def test_the_tier_of_a_long_request_holds_for_all_of_it() -> None:
    rate = Rate(Decimal(1), ((200, Decimal(10)), (1000, Decimal(100))))
    card = RateCard("p", "m", "list", "1", None, "standard", {"input": rate, "cache_read": rate, "output": rate})
    for cached, wanted in [(100, "0.000201"), (101, "0.00202"), (901, "0.100200")]:
        costs, _ = price_meters(Meters(input_fresh=100, cache_read=cached, output=1), card)
        assert sum(costs.values()) == Decimal(wanted)


def test_cache_reads_and_both_writes_have_their_own_price(prices: PriceList) -> None:
    meters = Meters(input_fresh=10**6, cache_read=10**6, cache_write_5m=10**6, cache_write_1h=10**6, output=10**6)
    priced = prices.price_call(call("claude-opus-4-5", "anthropic", meters=meters), NOW)
    assert priced.cost_by_meter_usd == {
        "input_fresh": 5,
        "cache_read": Decimal("0.5"),
        "cache_write_5m": Decimal("6.25"),
        "cache_write_1h": 10,
        "output": 25,
    }
    assert priced.list_cost_usd == Decimal("46.75")
    assert priced.card is not None
    assert (priced.card.list_name, priced.card.list_version, priced.card.as_of) == (
        "genai-prices",
        PublishedPrices().version,
        datetime(2026, 11, 20).date(),
    )


def test_audio_tokens_are_a_part_of_the_input_and_cost_more(prices: PriceList) -> None:
    text = Meters(input_fresh=1000, output=1000)
    audio = Meters(input_fresh=1000, input_audio=400, output=1000, output_audio=300)
    model = "gemini-3.1-flash-live-preview"
    assert cost(prices, call(model, "google", meters=text)) == Decimal("0.00525")
    # 600 x 0.75 + 400 x 3 in, 700 x 4.5 + 300 x 12 out
    assert cost(prices, call(model, "google", meters=audio)) == Decimal("0.0084")


def test_cached_audio_is_a_part_of_the_audio(prices: PriceList) -> None:
    # 400 of 1000 fresh and 300 of 500 cached tokens are audio
    meters = Meters(input_fresh=1000, cache_read=500, input_audio=700, cache_read_audio=300, output=0)
    # 600 x 0.30 + 400 x 1.00 fresh, 200 x 0.03 + 300 x 0.10 cached
    assert cost(prices, call("gemini-2.5-flash", "google", meters=meters)) == Decimal("0.000616")


def test_audio_without_a_price_of_its_own_is_marked(prices: PriceList) -> None:
    meters = Meters(input_fresh=1000, cache_read=0, input_audio=400, output=1000)
    priced = prices.price_call(call("gpt-4o-audio-preview", "openai", meters=meters), NOW)
    assert priced.partial
    assert priced.notes == ("the list has no price for audio input of this model: priced as text",)


def test_a_split_beyond_its_whole_is_paid_up_to_the_whole() -> None:
    card = RateCard(
        "p", "m", "list", "1", None, "standard", {"input": Rate(Decimal(1)), "input_audio": Rate(Decimal(9))}
    )
    costs, _ = price_meters(Meters(input_fresh=10, input_audio=500), card)
    assert costs == {"input_fresh": Decimal("0.00009")}


def test_prices_are_those_of_the_day_of_the_call(prices: PriceList) -> None:
    one = call("gpt-5.6-sol", "openai", meters=Meters(input_fresh=1000, output=1000))
    assert cost(prices, one, ns(2026, 7, 1)) == Decimal("0.035")
    assert cost(prices, one, NOW) == Decimal("0.024")


@pytest.mark.parametrize(
    "values", [{"batch": True}, {"service_tier": "batch"}, {"batch": True, "service_tier": "default"}]
)
def test_batch_is_half_price_where_the_list_says_so(prices: PriceList, values: dict[str, Any]) -> None:
    assert cost(prices, call("claude-opus-4-5", "anthropic", **values)) == 15


def test_a_batch_before_the_list_knows_batches_has_its_discount_and_says_so(prices: PriceList) -> None:
    priced = prices.price_call(call("claude-opus-4-5", "anthropic", batch=True), ns(2026, 1, 5))
    assert priced.list_cost_usd == 15
    assert any("from 2026-10-14 on" in note for note in priced.notes)


def test_flex_and_priority_have_their_price_and_an_unlisted_tier_says_so(prices: PriceList) -> None:
    standard, flex, priority = (
        cost(prices, call("gpt-5.1", "openai", service_tier=tier)) for tier in ("default", "flex", "priority")
    )
    assert flex is not None
    assert priority is not None
    assert standard is not None
    assert flex * 2 == standard
    assert priority == standard * 2
    priced = prices.price_call(call("claude-opus-4-5", "anthropic", service_tier="priority"), NOW)
    assert priced.list_cost_usd == 30
    assert priced.notes == ("the list has no priority price for this model: standard price",)


def test_the_fast_mode_of_a_model_is_read_from_its_usage(prices: PriceList) -> None:
    assert cost(prices, call("claude-fable-5-2", "anthropic", raw_usage={"speed": "fast"})) == 96
    assert cost(prices, call("claude-fable-5-2", "anthropic", raw_usage={"speed": "standard"})) == 48


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("anthropic", "claude-opus-4-5-20251101"),
        ("anthropic", "anthropic/claude-opus-4-5"),
        (None, "anthropic/claude-opus-4-5"),
        (None, "claude-opus-4-5"),
        ("claude_code", "claude-opus-4-5"),
        ("some-gateway", "claude-opus-4-5"),
    ],
)
def test_a_model_is_found_however_it_is_written(prices: PriceList, provider: str | None, model: str) -> None:
    assert cost(prices, call(model, provider)) == 30


def test_a_provider_that_no_list_has_is_noted(prices: PriceList) -> None:
    priced = prices.price_call(call("claude-opus-4-5", "some-gateway"), NOW)
    assert priced.notes == ("the list has no provider 'some-gateway': priced by the model's name",)


@pytest.mark.parametrize(
    ("inference", "reason"),
    [
        (call("no-such-model-9", "openai"), "no price list has 'no-such-model-9' of 'openai'"),
        (call(None), "no model is named"),
        (call("gpt-4o", "openai", meters=Meters()), "no usage is known"),
        (call("meta-llama/Llama-3.1-8B-Instruct", "vllm"), "vllm is self-hosted: price it in prices.toml"),
    ],
)
def test_what_cannot_be_priced_is_unknown_with_its_reason(prices: PriceList, inference: Inference, reason: str) -> None:
    priced = prices.price_call(inference, NOW)
    assert (priced.list_cost_usd, priced.effective_cost_usd, priced.reason) == (None, None, reason)


def test_the_asked_for_model_is_priced_where_the_answering_one_is_not_listed(prices: PriceList) -> None:
    inference = call("fp_internal_name", "openai", request_model="gpt-4o")
    assert cost(prices, inference) == cost(prices, call("gpt-4o", "openai"))


@pytest.mark.parametrize("start_ns", [None, 0, 17 * 10**9, -5])
def test_a_call_without_a_date_is_priced_by_todays_list_and_says_so(prices: PriceList, start_ns: int | None) -> None:
    priced = prices.price_call(call("claude-opus-4-5", "anthropic"), start_ns)
    assert priced.list_cost_usd == 30
    assert "the time of the call is unknown: today's list" in priced.notes
    assert priced.card is not None
    assert priced.card.as_of is None


def test_an_unknown_output_makes_a_cost_partial(prices: PriceList) -> None:
    meters = Meters(input_fresh=10)
    assert prices.price_call(call("gpt-4o", "openai", meters=meters), NOW).partial
    embedding = call("text-embedding-3-small", "openai", meters=meters, operation=Operation.EMBEDDING)
    assert not prices.price_call(embedding, NOW).partial


def test_zero_tokens_cost_nothing_which_is_known(prices: PriceList) -> None:
    assert cost(prices, call("gpt-4o", "openai", meters=Meters(input_fresh=0, output=0))) == 0


def test_a_web_search_costs_the_fee_of_the_models_list(prices: PriceList) -> None:
    inference = call("claude-opus-4-5", "anthropic")
    placement = Placement(None, None, NOW, NOW, Status.OK)
    search = Charge(bytes(16), bytes(8), "web_search", Decimal(3), "request")
    assert prices.price_charge(search, placement, InferenceRow(inference, placement)) == Decimal("0.03")
    assert prices.price_charge(search, placement, None) is None
    own = Charge(bytes(16), bytes(8), "web_search", Decimal(3), "request", Decimal("0.02"))
    assert prices.price_charge(own, placement, None) == Decimal("0.06")


def meters_of(usage: dict[str, int]) -> Meters:
    """Return the meters of a usage in the price list's own inclusive terms."""
    get = usage.get
    written, hour = get("cache_write_tokens", 0), get("cache_write_1h_tokens", 0)
    return Meters(
        input_fresh=get("input_tokens", 0) - get("cache_read_tokens", 0) - written,
        cache_read=get("cache_read_tokens", 0),
        cache_write_5m=written - hour,
        cache_write_1h=hour,
        output=get("output_tokens", 0),
        reasoning=get("output_reasoning_tokens"),
        input_audio=get("input_audio_tokens"),
        cache_read_audio=get("cache_audio_read_tokens"),
        input_image=get("input_image_tokens"),
        output_audio=get("output_audio_tokens"),
        output_image=get("output_image_tokens"),
    )


OTHERWISE = {
    ("google", "claude-sonnet-4-5-20250929"): "the list has since learned the tier above 200,000 tokens",
    ("mistral", "ministral-8b-latest"): "the list has since overwritten the price, without a date",
    ("cerebras", "qwen-3-coder-480b"): "listed without a price: unknown here, nothing there",
    ("openrouter", "google/gemini-2.0-flash-exp:free"): "listed without a price: unknown here, nothing there",
}
DAYS = [
    ns(year, month, day, hour) for year in (2025, 2026) for month in range(1, 13) for day, hour in ((3, 3), (20, 12))
]


def test_every_recorded_usage_body_has_its_expected_price(prices: PriceList, shared: Path) -> None:
    bodies = json.loads((shared / "data" / "http" / "usages.json").read_text())
    assert len(bodies) == 1577
    seen: Counter[str] = Counter()
    explained = set()
    for body in bodies:
        for extracted in body["extracted"]:
            meters = meters_of(extracted["usage"])
            for one in extracted["extractors"]:
                if "input_price" not in one and "output_price" not in one:
                    continue
                wanted = Decimal(one.get("input_price", 0)) + Decimal(one.get("output_price", 0))
                inference = call(body.get("model"), one["provider_id"], meters=meters)

                def found(day: int, inference: Inference = inference) -> Decimal | None:
                    priced = prices.price_call(inference, day)
                    if priced.list_cost_usd is None:
                        return None
                    return priced.list_cost_usd - priced.cost_by_meter_usd.get("requests", 0)

                if found(NOW) == wanted:
                    seen["the price of today"] += 1
                elif any(found(day) == wanted for day in DAYS):
                    seen["the price of an earlier day"] += 1
                else:
                    explained.add((one["provider_id"], body.get("model")))
    assert explained == set(OTHERWISE)
    assert seen["the price of today"] > 3300
    assert seen["the price of an earlier day"] < 125


def test_an_unknown_cached_share_is_said_with_the_price() -> None:
    prices = load_prices()
    unsplit = prices.price_call(
        Inference(
            bytes(16), bytes(8), provider="openai", request_model="gpt-4o", meters=Meters(input_fresh=10, output=1)
        ),
        None,
    )
    split = prices.price_call(
        Inference(
            bytes(16), bytes(8), provider="openai", request_model="gpt-4o",
            meters=Meters(input_fresh=10, cache_read=0, output=1),
        ),
        None,
    )  # fmt: skip
    assert unsplit.list_cost_usd == split.list_cost_usd
    assert UNKNOWN_SPLIT in unsplit.notes
    assert UNKNOWN_SPLIT not in split.notes
