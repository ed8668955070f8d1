"""Bills and usage exports of providers, read into lines of one shape.

Understood are OpenAI's usage and costs, Anthropic's usage and cost reports (JSON as their APIs return it, a page or a
list of pages), FOCUS and the AWS cost and usage report (CSV), each plain or gzipped. Which of them a file is, its
content says. Of a bill for a whole account, only the lines about models are read, and the rest is counted.

Source, read on 2026-11-23: OpenAI's OpenAPI 2.3.0 (UsageCompletionsResult: input tokens include cached and cache-write
tokens; CostsResult), platform.claude.com/docs/en/api/admin/cost_report (amounts in the lowest unit of the currency),
docs.aws.amazon.com/bedrock/latest/userguide/cost-mgmt-understanding-cur-data.html (usage types by kind of token), the
AWS price list of AmazonBedrockFoundationModels (usage types of marketplace models, which name none).
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from io import StringIO
from pathlib import Path
from typing import Any

from inferometer.schema.errors import InputError
from inferometer.schema.wording import counted

NOISE = frozenset(
    re.findall(
        r"\w+",
        "tokens token input output cached cache read write writes creation usage count model models inference on "
        "demand ondemand standard batch flex priority reserved latency optimized use usw euw apn us east west eu "
        "central global regional geo cross region mantle units latest preview v text image audio uncached million m k "
        "short long context prompt instruct the bedrock amazon aws anthropic openai meta",
    )
)
"""Words of a line item that do not tell one model from another."""
METER_WORDS = (
    ("cache_write_1h", ("1h", "1 hour", "1-hour")),
    ("cache_write_5m", ("cache write", "cache_write", "cache-write", "cachewrite", "cache creation", "cache_creation")),
    ("cache_read", ("cached", "cache read", "cache_read", "cache-read", "cacheread", "cache hit")),
    ("output", ("output", "completion")),
    ("input_fresh", ("input", "prompt")),
)


@dataclass(slots=True)
class BillLine:
    """One line of a bill or usage export: tokens, dollars or both; None where the source does not say.

    ``is_usage`` is False for taxes, credits, refunds and fees, which no call causes.
    """

    day: date | None
    model: str | None
    meters: dict[str, int] = field(default_factory=dict)
    cost_usd: Decimal | None = None
    requests: int | None = None
    item: str = ""
    is_usage: bool = True


@dataclass(slots=True)
class Bill:
    """The lines of one file and what it is; ``left_out`` more are about other services than models."""

    path: str
    kind: str
    lines: list[BillLine]
    left_out: int = 0


def signature(model: str | None) -> frozenset[str]:
    """Return the words by which two spellings of one model's name are equal; dates and vendors' noise are left out.

    ``claude-sonnet-4-5-20250929``, ``Claude Sonnet 4.5 Usage - Input Tokens (200k-1M context)`` and
    ``USE1-Claude4.5Sonnet-input-tokens-cross-region-global`` give the same.
    """
    text = re.sub(r"\([^)]*\)|\d{4}-?\d{2}-?\d{2}|\bv\d+(:\d+)?$|-\d+:\d+$|^[A-Z]{3,4}\d-", " ", model or "")
    text = re.sub(r"(\d)\.0(?!\d)", r"\1", text)
    text = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()
    text = re.sub(r"\b1[ -]?h(our)?\b|\b5[ -]?m(in(utes)?)?\b", " ", text)
    return frozenset(word for word in re.findall(r"[a-z]+|\d+", text) if word not in NOISE)


def meter_of(text: str) -> str | None:
    """Return the meter that a line item's words name; None where they name none."""
    lowered = text.lower()
    return next((meter for meter, words in METER_WORDS if any(word in lowered for word in words)), None)


def read_bill(path: str | Path, usd_per_unit: Decimal | None = None) -> Bill:
    """Read one file.

    Args:
        path: the file.
        usd_per_unit: US dollars for one unit of the bill's currency, where that is another.

    Raises:
        InputError: the file is unreadable, of no known kind, or in another currency without a rate.
    """
    try:
        content = Path(path).read_bytes()
        text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(str(path), getattr(error, "strerror", None) or "cannot be read as text") from error
    reader = _Reader(str(path), usd_per_unit)
    bill = reader.json(text) if text.lstrip()[:1] in {"{", "["} else reader.csv(text)
    if not bill.lines:
        about = f"; {counted(bill.left_out, 'line')} about other services" if bill.left_out else ""
        raise InputError(str(path), f"holds no line about a model{about}")
    return bill


class _Reader:
    def __init__(self, path: str, usd_per_unit: Decimal | None) -> None:
        self.path = path
        self.rate = usd_per_unit

    def json(self, text: str) -> Bill:
        try:
            document = json.loads(text, parse_float=Decimal)
        except (ValueError, RecursionError) as error:
            raise InputError(self.path, f"is not JSON: {error}") from error
        pages = document if isinstance(document, list) else [document]
        buckets = [bucket for page in pages for bucket in _buckets(page)]
        if not buckets:
            raise InputError(
                self.path, "is no usage or cost export of OpenAI or Anthropic: it has no 'data' of buckets"
            )
        kind, read = self._kind(buckets)
        lines = [line for bucket in buckets for result in _results(bucket) for line in read(_day(bucket), result)]
        return Bill(self.path, kind, lines)

    def _kind(
        self, buckets: list[Mapping[str, Any]]
    ) -> tuple[str, Callable[[date | None, Mapping[str, Any]], Iterable[BillLine]]]:
        first: Mapping[str, Any] = next((result for bucket in buckets for result in _results(bucket)), {})
        if "uncached_input_tokens" in first:
            return "Anthropic usage", _anthropic_usage
        if isinstance(first.get("amount"), Mapping):
            return "OpenAI costs", self._openai_cost
        if "amount" in first:
            return "Anthropic cost", self._anthropic_cost
        if "input_tokens" in first:
            return "OpenAI usage", _openai_usage
        if not first:
            return "empty export", lambda day, result: ()
        raise InputError(self.path, f"its results have keys that no known export has: {', '.join(sorted(first)[:6])}")

    def _openai_cost(self, day: date | None, result: Mapping[str, Any]) -> Iterator[BillLine]:
        item = str(result.get("line_item") or "")
        amount = result["amount"]
        cost = self._dollars(amount.get("value"), str(amount.get("currency") or "usd"))
        yield BillLine(day, item.split(",")[0].strip() or None, cost_usd=cost, item=item)

    def _anthropic_cost(self, day: date | None, result: Mapping[str, Any]) -> Iterator[BillLine]:
        # the report states the lowest unit of its currency: cents
        cents = self._dollars(result.get("amount"), str(result.get("currency") or "USD"))
        item = str(result.get("description") or result.get("cost_type") or "")
        model = result.get("model") or (item if meter_of(item) else None)
        yield BillLine(day, str(model) if model else None, cost_usd=None if cents is None else cents / 100, item=item)

    def csv(self, text: str) -> Bill:
        rows = list(csv.DictReader(StringIO(text)))
        columns = set(rows[0]) if rows else set()
        if "BilledCost" in columns:
            kept = [row for row in rows if (row.get("ServiceCategory") or _AI) == _AI]
            return Bill(self.path, "FOCUS", [self._focus(row) for row in kept], len(rows) - len(kept))
        for kind, names in _CUR.items():
            if names["cost"] in columns:
                kept = [row for row in rows if _is_about_models(row, names)]
                return Bill(self.path, kind, [self._cur(row, names) for row in kept], len(rows) - len(kept))
        known = "BilledCost (FOCUS) or lineItem/UnblendedCost (AWS)"
        raise InputError(self.path, f"is no known bill: a CSV needs a column {known}")

    def _focus(self, row: Mapping[str, str]) -> BillLine:
        cost = self._dollars(row.get("BilledCost"), row.get("BillingCurrency") or "USD")
        named = (row.get(name) for name in ("x_Model", "x_UsageType", "SkuId", "ResourceName", "ServiceName"))
        model = next(filter(None, named), None)
        item = row.get("ChargeDescription") or row.get("SkuMeter") or ""
        meter = row.get("x_TokenType") or meter_of(row.get("SkuMeter") or row.get("x_UsageType") or item)
        meters = _metered(_FOCUS_METERS.get(meter or ""), row.get("ConsumedQuantity"), row.get("ConsumedUnit"))
        if (row.get("ChargeCategory") or "Usage") != "Usage":
            return BillLine(_iso_day(row.get("ChargePeriodStart")), None, {}, cost, item=item, is_usage=False)
        return BillLine(_iso_day(row.get("ChargePeriodStart")), model, meters, cost, item=item)

    def _cur(self, row: Mapping[str, str], names: Mapping[str, str]) -> BillLine:
        usage = row.get(names["usage"]) or ""
        cost = self._dollars(row.get(names["cost"]), row.get(names["currency"]) or "USD")
        day = _iso_day(row.get(names["start"]))
        if not (row.get(names["type"]) or "Usage").endswith("Usage"):
            return BillLine(day, None, {}, cost, item=usage, is_usage=False)
        # usage types of marketplace models name the seller's meter, and the product names the model
        model = _product(row, names) if "MP:" in usage else usage
        meters = _metered(meter_of(usage), row.get(names["amount"]), row.get(names["unit"]))
        return BillLine(day, model or None, meters, cost, item=usage)

    def _dollars(self, amount: Any, currency: str) -> Decimal | None:
        value = _number(amount)
        if value is None or currency.upper() == "USD":
            return value
        if self.rate is None:
            raise InputError(self.path, f"is in {currency.upper()}; say what one is in US dollars with --rate")
        return value * self.rate


_AI = "AI and Machine Learning"
"""The service category of FOCUS that models are in."""

_FOCUS_METERS = {
    "input_uncached": "input_fresh",
    "input_fresh": "input_fresh",
    "input_cached": "cache_read",
    "cache_read": "cache_read",
    "cache_write_5m": "cache_write_5m",
    "cache_write_1h": "cache_write_1h",
    "output": "output",
    "reasoning": "output",
}

_CUR = {
    "AWS cost and usage report": {
        "type": "lineItem/LineItemType",
        "code": "lineItem/ProductCode",
        "product": "product/ProductName",
        "start": "lineItem/UsageStartDate",
        "usage": "lineItem/UsageType",
        "amount": "lineItem/UsageAmount",
        "unit": "pricing/unit",
        "cost": "lineItem/UnblendedCost",
        "currency": "lineItem/CurrencyCode",
    },
    "AWS cost and usage report 2.0": {
        "type": "line_item_line_item_type",
        "code": "line_item_product_code",
        "product": "product_product_name",
        "start": "line_item_usage_start_date",
        "usage": "line_item_usage_type",
        "amount": "line_item_usage_amount",
        "unit": "pricing_unit",
        "cost": "line_item_unblended_cost",
        "currency": "line_item_currency_code",
    },
}


def _buckets(page: Any) -> list[Mapping[str, Any]]:
    data = page.get("data") if isinstance(page, Mapping) else None
    return [bucket for bucket in data if isinstance(bucket, Mapping)] if isinstance(data, list) else []


def _results(bucket: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = bucket.get("results", bucket.get("result"))
    return [result for result in found if isinstance(result, Mapping)] if isinstance(found, list) else []


def _day(bucket: Mapping[str, Any]) -> date | None:
    start = bucket.get("start_time", bucket.get("starting_at"))
    if isinstance(start, int | Decimal):
        return datetime.fromtimestamp(int(start), UTC).date()
    return _iso_day(start)


def _iso_day(text: Any) -> date | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _number(value: Any) -> Decimal | None:
    try:
        number = Decimal(str(value)) if value not in (None, "") else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _product(row: Mapping[str, str], names: Mapping[str, str]) -> str:
    """Return the product's name: its column's, else that of the map that CUR 2.0 keeps."""
    if row.get(names["product"]):
        return row[names["product"]]
    try:
        found = json.loads(row.get("product") or "{}")
    except json.JSONDecodeError:
        return ""
    return str(found.get("product_name") or "") if isinstance(found, dict) else ""


def _is_about_models(row: Mapping[str, str], names: Mapping[str, str]) -> bool:
    """Whether a line is Bedrock's or a marketplace model's; an export without products is taken whole."""
    code, product = row.get(names["code"]) or "", _product(row, names)
    return not (code or product) or "bedrock" in f"{code} {product}".lower()


def _metered(meter: str | None, amount: Any, unit: str | None) -> dict[str, int]:
    """Return a quantity of tokens by its meter; nothing where its unit is not tokens, a thousand or a million."""
    tokens, words = _number(amount), (unit or "").lower()
    if meter is None or tokens is None or "token" not in words:
        return {}
    scale = 1_000_000 if "1m" in words or "million" in words else 1000 if "1k" in words or "thousand" in words else 1
    return {meter: int(tokens * scale)}


def _anthropic_usage(day: date | None, result: Mapping[str, Any]) -> Iterator[BillLine]:
    written = result.get("cache_creation") or {}
    meters = {
        "input_fresh": result.get("uncached_input_tokens"),
        "cache_read": result.get("cache_read_input_tokens"),
        "cache_write_5m": written.get("ephemeral_5m_input_tokens"),
        "cache_write_1h": written.get("ephemeral_1h_input_tokens"),
        "output": result.get("output_tokens"),
    }
    yield BillLine(day, result.get("model"), {name: int(value) for name, value in meters.items() if value is not None})


def _openai_usage(day: date | None, result: Mapping[str, Any]) -> Iterator[BillLine]:
    read, written = (int(result.get(f"input_{name}_tokens") or 0) for name in ("cached", "cache_write"))
    meters = {
        "input_fresh": int(result.get("input_tokens") or 0) - read - written,
        "cache_read": read,
        **({"cache_write_5m": written} if written else {}),
        "output": int(result.get("output_tokens") or 0),
    }
    requests = result.get("num_model_requests")
    yield BillLine(day, result.get("model"), meters, requests=None if requests is None else int(requests))
