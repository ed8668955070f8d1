"""Bills and usage exports of providers, read into lines of one shape.

Understood are OpenAI's usage and costs, Anthropic's usage and cost reports (JSON as their APIs return it), FOCUS and
the AWS cost and usage report (CSV). Which of them a file is, its content says.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from io import StringIO
from pathlib import Path
from typing import Any

from inferometer.schema.errors import InputError

NOISE = frozenset(
    re.findall(
        r"\w+",
        "tokens token input output cached cache read write writes creation usage count model models inference on "
        "demand "
        "ondemand standard batch use usw euw apn us east west eu central global regional latest preview v text image "
        "audio uncached million m k short long context prompt the bedrock amazon aws anthropic openai",
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
    """One line of a bill or usage export: tokens, dollars or both; None where the source does not say."""

    day: date | None
    model: str | None
    meters: dict[str, int] = field(default_factory=dict)
    cost_usd: Decimal | None = None
    requests: int | None = None
    item: str = ""


@dataclass(slots=True)
class Bill:
    """The lines of one file and what it is."""

    path: str
    kind: str
    lines: list[BillLine]


def signature(model: str | None) -> frozenset[str]:
    """Return the words by which two spellings of one model's name are equal; dates and vendors' noise are left out.

    ``claude-sonnet-4-5-20250929``, ``Claude Sonnet 4.5 Usage - Input Tokens`` and ``USE1-Claude4.5Sonnet-input-tokens``
    give the same.
    """
    text = re.sub(r"\d{4}-?\d{2}-?\d{2}|\bv\d+(:\d+)?$|^[A-Z]{3}\d-", " ", model or "")
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
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), getattr(error, "strerror", None) or "cannot be read as text") from error
    reader = _Reader(str(path), usd_per_unit)
    bill = reader.json(text) if text.lstrip()[:1] in {"{", "["} else reader.csv(text)
    if not bill.lines:
        raise InputError(str(path), "holds no line of a bill")
    return bill


class _Reader:
    def __init__(self, path: str, usd_per_unit: Decimal | None) -> None:
        self.path = path
        self.rate = usd_per_unit

    def json(self, text: str) -> Bill:
        try:
            document = json.loads(text, parse_float=Decimal)
        except json.JSONDecodeError as error:
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
            return Bill(self.path, "FOCUS", [self._focus(row) for row in rows])
        for kind, names in _CUR.items():
            if names["cost"] in columns:
                return Bill(self.path, kind, [self._cur(row, names) for row in rows])
        known = "BilledCost (FOCUS) or lineItem/UnblendedCost (AWS)"
        raise InputError(self.path, f"is no known bill: a CSV needs a column {known}")

    def _focus(self, row: Mapping[str, str]) -> BillLine:
        cost = self._dollars(row.get("BilledCost"), row.get("BillingCurrency") or "USD")
        model = row.get("SkuId") or row.get("x_Model") or row.get("ResourceName") or row.get("ServiceName")
        item = row.get("ChargeDescription") or row.get("SkuMeter") or ""
        meters = {}
        if (row.get("ConsumedUnit") or "").lower().startswith("token"):
            tokens = _number(row.get("ConsumedQuantity"))
            meter = row.get("x_TokenType") or meter_of(row.get("SkuMeter") or item)
            if tokens is not None and meter in _FOCUS_METERS:
                meters[_FOCUS_METERS[meter]] = int(tokens)
        return BillLine(_iso_day(row.get("ChargePeriodStart")), model or None, meters, cost, item=item)

    def _cur(self, row: Mapping[str, str], names: Mapping[str, str]) -> BillLine:
        usage = row.get(names["usage"]) or ""
        tokens = _number(row.get(names["amount"]))
        meter = meter_of(usage)
        unit = (row.get(names["unit"]) or "").lower()
        meters = {}
        if meter and tokens is not None and ("token" in unit or "token" in usage.lower()):
            scale = (
                1_000_000 if "1m" in unit or "million" in unit else 1000 if "1k" in unit or "thousand" in unit else 1
            )
            meters[meter] = int(tokens * scale)
        cost = self._dollars(row.get(names["cost"]), row.get(names["currency"]) or "USD")
        return BillLine(_iso_day(row.get(names["start"])), usage or None, meters, cost, item=usage)

    def _dollars(self, amount: Any, currency: str) -> Decimal | None:
        value = _number(amount)
        if value is None or currency.upper() == "USD":
            return value
        if self.rate is None:
            raise InputError(self.path, f"is in {currency.upper()}; say what one is in US dollars with --rate")
        return value * self.rate


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
        "start": "lineItem/UsageStartDate",
        "usage": "lineItem/UsageType",
        "amount": "lineItem/UsageAmount",
        "unit": "pricing/unit",
        "cost": "lineItem/UnblendedCost",
        "currency": "lineItem/CurrencyCode",
    },
    "AWS cost and usage report 2.0": {
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
    cached = int(result.get("input_cached_tokens") or 0)
    meters = {
        "input_fresh": int(result.get("input_tokens") or 0) - cached,
        "cache_read": cached,
        "output": int(result.get("output_tokens") or 0),
    }
    requests = result.get("num_model_requests")
    yield BillLine(day, result.get("model"), meters, requests=None if requests is None else int(requests))
