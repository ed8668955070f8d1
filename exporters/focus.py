"""FOCUS 1.2 rows: one for each call and meter, one for each charge.

Source: FinOps Open Cost and Usage Specification 1.2 (focus.finops.org), its mandatory columns and the ones that its AI
mapping names; columns of our own begin with ``x_``.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TextIO

from inferometer.profiles.prices import Priced, PriceList
from inferometer.profiles.prices.cards import price_meters
from inferometer.schema.moments import is_date
from inferometer.schema.records import Charge
from inferometer.schema.rows import InferenceRow, Placement
from inferometer.schema.selection import Selection
from inferometer.store import Store

COLUMNS = (
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodStart"),
    *("BillingPeriodEnd", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodStart", "ChargePeriodEnd", "ConsumedQuantity", "ConsumedUnit", "ContractedCost"),
    *("ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice", "PricingCategory"),
    *("PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName"),
    *("ServiceSubcategory", "SkuId", "SkuMeter", "SkuPriceId", "SubAccountId", "Tags", "x_TraceId", "x_SpanId"),
    *("x_RunId", "x_SessionId", "x_AgentName", "x_Model", "x_TokenType", "x_ServiceTier", "x_PriceList", "x_Weight"),
)

_METERS = {
    "input_fresh": ("Input Tokens", "input_uncached"),
    "cache_read": ("Cached Input Tokens", "input_cached"),
    "cache_write_5m": ("Cache Write Tokens", "cache_write_5m"),
    "cache_write_1h": ("Cache Write Tokens, 1 hour", "cache_write_1h"),
    "output": ("Output Tokens", "output"),
    "requests": ("Requests", ""),
}
_MILLION = Decimal(1_000_000)
_ZERO = Decimal(0)
_NANOSECONDS = 1_000_000_000


def write_focus(store: Store, selection: Selection, prices: PriceList, target: TextIO) -> int:
    """Write the priced calls and charges of a selection as CSV and return the number of rows.

    Unpriced calls have no row: FOCUS knows no unknown cost. The sums of ``ListCost``, ``ContractedCost`` and
    ``EffectiveCost`` are those of ``inferometer cost`` without sampling; over sampled traces, weigh by ``x_Weight``.
    """
    from inferometer.analyzer.accounting import account

    factors = account(store, selection, prices=prices).effective_factors
    writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    writer.writeheader()
    count = 0
    charges = list(store.placed_charges(selection))
    charged = {(charge.trace_id, charge.span_id) for charge, _ in charges}
    rows: dict[tuple[bytes, bytes], InferenceRow] = {}
    for row in store.inferences(selection):
        key = (row.inference.trace_id, row.inference.span_id)
        if key in charged:
            rows[key] = row
        priced = prices.price(row)
        for record in _call_rows(row, priced, factors.get(priced.coverage, Decimal(1))):
            writer.writerow(record)
            count += 1
    for charge, placement in charges:
        on = rows.get((charge.trace_id, charge.span_id))
        cost_usd = prices.price_charge(charge, placement, on)
        if cost_usd is not None:
            writer.writerow(_charge_row(charge, placement, on, cost_usd))
            count += 1
    return count


def _call_rows(row: InferenceRow, priced: Priced, factor: Decimal) -> Iterator[dict[str, Any]]:
    card, call = priced.card, row.inference
    if card is None:
        return
    listed, _ = price_meters(call.meters, card)
    for meter, list_cost in listed.items():
        tokens = getattr(call.meters, meter, None)
        title, kind = _METERS[meter]
        quantity = Decimal(1) if tokens is None else Decimal(tokens) / _MILLION
        contracted = priced.cost_by_meter_usd.get(meter, _ZERO)
        common = _common(row.placement, call.trace_id, call.span_id, call.provider or card.provider)
        yield common | {
            "BilledCost": _money(contracted),
            "ChargeDescription": f"{call.model} {title.lower()}",
            "ConsumedQuantity": 1 if tokens is None else tokens,
            "ConsumedUnit": "Requests" if tokens is None else "Tokens",
            "ContractedCost": _money(contracted),
            "ContractedUnitPrice": _money(contracted / quantity) if quantity else "",
            "EffectiveCost": _money(contracted * factor),
            "ListCost": _money(list_cost),
            "ListUnitPrice": _money(list_cost / quantity) if quantity else "",
            "PricingQuantity": _money(quantity),
            "PricingUnit": "Requests" if tokens is None else "1M Tokens",
            "PublisherName": card.provider,
            "SkuId": card.model,
            "SkuMeter": title,
            "SkuPriceId": f"{card.provider}/{card.model}/{meter}/{card.tier}",
            "x_Model": call.model or "",
            "x_TokenType": kind,
            "x_ServiceTier": card.tier,
            "x_PriceList": f"{card.list_name} {card.list_version}".strip(),
        }


def _charge_row(charge: Charge, placement: Placement, on: InferenceRow | None, cost_usd: Decimal) -> dict[str, Any]:
    provider = (on.inference.provider if on else None) or "tools"
    unit_price = cost_usd / charge.quantity if charge.quantity else None
    return _common(placement, charge.trace_id, charge.span_id, provider) | {
        "BilledCost": _money(cost_usd),
        "ChargeDescription": charge.sku,
        "ConsumedQuantity": _money(charge.quantity),
        "ConsumedUnit": charge.unit,
        "ContractedCost": _money(cost_usd),
        "ContractedUnitPrice": "" if unit_price is None else _money(unit_price),
        "EffectiveCost": _money(cost_usd),
        "ListCost": _money(cost_usd),
        "ListUnitPrice": "" if unit_price is None else _money(unit_price),
        "PricingQuantity": _money(charge.quantity),
        "PricingUnit": charge.unit,
        "PublisherName": provider,
        "SkuId": charge.sku,
        "SkuMeter": charge.sku,
        "SkuPriceId": charge.sku,
        "x_PriceList": charge.source or "",
    }


def _common(placement: Placement, trace_id: bytes, span_id: bytes, provider: str) -> dict[str, Any]:
    start = _moment(placement.start_ns)
    first, following = _month(start)
    return {
        "BillingAccountId": provider,
        "BillingAccountName": "",
        "BillingCurrency": "USD",
        "BillingPeriodStart": _iso(first),
        "BillingPeriodEnd": _iso(following),
        "ChargeCategory": "Usage",
        "ChargeClass": "",
        "ChargeFrequency": "Usage-Based",
        "ChargePeriodStart": _iso(start),
        "ChargePeriodEnd": _iso(_end(start, placement.end_ns)),
        "InvoiceIssuerName": provider,
        "PricingCategory": "Standard",
        "ProviderName": provider,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceName": f"{provider} inference",
        "ServiceSubcategory": "Generative AI",
        "SubAccountId": placement.service or "",
        "Tags": json.dumps(placement.tags, sort_keys=True) if placement.tags else "",
        "x_TraceId": trace_id.hex(),
        "x_SpanId": span_id.hex(),
        "x_RunId": placement.run_id or "",
        "x_SessionId": placement.session_id or "",
        "x_AgentName": placement.agent_name or "",
        "x_Weight": "" if placement.weight is None else placement.weight,
    }


def _money(amount: Decimal) -> str:
    return format(amount.normalize() + _ZERO, "f")


def _moment(time_ns: int | None) -> datetime | None:
    if not is_date(time_ns):
        return None
    try:
        return datetime.fromtimestamp(time_ns // _NANOSECONDS, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _end(start: datetime | None, end_ns: int | None) -> datetime | None:
    """Return the first whole second after a call: the end of a charge period is not in it, so it is never empty."""
    if start is None:
        return None
    end = _moment(None if end_ns is None else end_ns + _NANOSECONDS - 1)
    return max(end or start, start + timedelta(seconds=1))


def _month(moment: datetime | None) -> tuple[datetime | None, datetime | None]:
    if moment is None:
        return None, None
    first = moment.replace(day=1, hour=0, minute=0, second=0)
    following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    return first, following


def _iso(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
