"""From a provider's usage object to dollars, by our readers and our prices, against a recorded expectation."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from inferometer.profiles.prices import PriceList, load_prices
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference
from inferometer.schema.usage import READERS

OTHERWISE = {
    ("google", "claude-sonnet-4-5-20250929"): "the list has since learned the tier above 200,000 tokens",
    ("mistral", "ministral-8b-latest"): "the list has since overwritten the price, without a date",
    ("cerebras", "qwen-3-coder-480b"): "listed without a price: unknown here, nothing there",
    ("openrouter", "google/gemini-2.0-flash-exp:free"): "listed without a price: unknown here, nothing there",
}


def moments() -> list[int]:
    """Return today's time and one in each price period of two years, at both ends of the day's tariff."""
    days = [datetime(2026, 11, 20, 12, tzinfo=UTC)]
    days += [
        datetime(year, month, day, hour, tzinfo=UTC)
        for year in (2026, 2025)
        for month in range(1, 13)
        for day, hour in ((3, 3), (20, 12))
    ]
    return [int(day.timestamp()) * 1_000_000_000 for day in days]


def interface_of(body: dict[str, Any]) -> str:
    """Return whose usage object this is, by the keys that only it has."""
    usage = body.get("usage") or {}
    if "usageMetadata" in body:
        return "gemini"
    if "meta" in body or "billed_units" in usage:
        return "cohere"
    if "inputTokens" in usage:
        return "bedrock"
    if "cache_creation_input_tokens" in usage or ("server_tool_use" in usage and "input_tokens" in usage):
        return "anthropic"
    return "openai_responses" if "input_tokens" in usage else "openai"


def same(meters: Meters, theirs: dict[str, int]) -> bool:
    """Return whether another reader saw the same tokens."""
    written = (meters.cache_write_5m or 0) + (meters.cache_write_1h or 0)
    ours = (meters.input_total or 0, meters.cache_read or 0, written, meters.output or 0)
    keys = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
    return ours == tuple(theirs.get(key, 0) for key in keys)


def costs_at(prices: PriceList, call: Inference, moment: int) -> Decimal | None:
    priced = prices.price_call(call, moment)
    if priced.list_cost_usd is None:
        return None
    return priced.list_cost_usd - priced.cost_by_meter_usd.get("requests", Decimal(0))


def test_every_recorded_body_costs_what_is_expected_or_the_difference_is_explained(shared: Path) -> None:
    bodies = json.loads((shared / "data" / "http" / "usages.json").read_text())
    prices, times = load_prices(), moments()
    seen: Counter[str] = Counter()
    explained = set()
    for entry in bodies:
        meters = READERS[interface_of(entry["body"])][0](entry["body"]).meters
        assert meters.is_known
        seen["bodies"] += 1
        for extracted in entry["extracted"]:
            theirs = extracted["usage"]
            for one in extracted["extractors"]:
                if "input_price" not in one and "output_price" not in one:
                    continue
                wanted = Decimal(one.get("input_price", 0)) + Decimal(one.get("output_price", 0))
                call = Inference(bytes(16), bytes(8), one["provider_id"], None, entry.get("model"), meters=meters)
                if not same(meters, theirs):
                    seen[difference(meters, theirs)] += 1
                elif any(costs_at(prices, call, moment) == wanted for moment in times):
                    seen["the expected price"] += 1
                else:
                    explained.add((one["provider_id"], entry.get("model")))
    assert explained == set(OTHERWISE)
    assert seen["bodies"] == 1577
    assert seen["the expected price"] > 2900
    assert set(seen) == {"bodies", "the expected price", "it reads input alone", "it leaves cached tokens out"}


def difference(meters: Meters, theirs: dict[str, int]) -> str:
    """Return what the other reader did not see: it is always less, never something else."""
    if "output_tokens" not in theirs and meters.output:
        return "it reads input alone"
    cached = (meters.cache_read or 0) + (meters.cache_write_5m or 0) + (meters.cache_write_1h or 0)
    if cached > theirs.get("cache_read_tokens", 0) + theirs.get("cache_write_tokens", 0):
        return "it leaves cached tokens out"
    return f"unexplained: {meters.as_dict()} and {theirs}"
