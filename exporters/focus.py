"""FOCUS 1.2 rows: one for each call and meter, one for each charge.

Source: FinOps Open Cost and Usage Specification 1.2 (focus.finops.org), its mandatory columns and the ones that its AI
mapping names; columns of our own begin with ``x_``. Its requirements are checked row by row in the tests.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
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
    *(
        "ServiceSubcategory",
        "SkuId",
        "SkuMeter",
        "SkuPriceId",
        "SubAccountId",
        "SubAccountName",
        "Tags",
        "x_TraceId",
        "x_SpanId",
    ),
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


@dataclass(slots=True)
class FocusCounts:
    """What an export wrote and what it had to leave out.

    Attributes:
        rows: of the file.
        undated: calls and charges without a date, for FOCUS knows no row without its periods.
        unpriced: dated calls and charges without a price, for FOCUS knows no unknown cost.
    """

    rows: int = 0
    undated: int = 0
    unpriced: int = 0


def write_focus(store: Store, selection: Selection, prices: PriceList, target: TextIO) -> FocusCounts:
    """Write the dated, priced calls and charges of a selection as CSV and return what was written and left out.

    The sums of ``ListCost``, ``ContractedCost`` and ``EffectiveCost`` over the rows of calls are those of ``inferometer
    cost`` over dated calls without sampling; over sampled traces, weigh by ``x_Weight``.
    """
    from inferometer.analyzer.accounting import account
    from inferometer.analyzer.tool_fees import tool_fees

    factors = account(store, selection, prices=prices).effective_factors
    writer = csv.DictWriter(target, COLUMNS, lineterminator="\n")
    writer.writeheader()
    counts = FocusCounts()
    charges = list(store.placed_charges(selection))
    charged = {(charge.trace_id, charge.span_id) for charge, _ in charges}
    rows: dict[tuple[bytes, bytes], InferenceRow] = {}
    for row in store.inferences(selection):
        key = (row.inference.trace_id, row.inference.span_id)
        if key in charged:
            rows[key] = row
        priced = prices.price(row)
        if _is_left_out(row.placement, priced.list_cost_usd, counts):
            continue
        for record in _call_rows(row, priced, factors.get(priced.coverage, Decimal(1))):
            writer.writerow(record)
            counts.rows += 1
    for charge, placement in charges:
        on = rows.get((charge.trace_id, charge.span_id))
        _write_charge(writer, counts, charge, placement, on, prices.price_charge(charge, placement, on))
    if prices.has_tools:
        for charge, placement, cost_usd in tool_fees(store.tool_calls(selection), prices, charged):
            _write_charge(writer, counts, charge, placement, None, cost_usd)
    return counts


def _is_left_out(placement: Placement, cost_usd: Decimal | None, counts: FocusCounts) -> bool:
    if _moment(placement.start_ns) is None:
        counts.undated += 1
        return True
    counts.unpriced += cost_usd is None
    return cost_usd is None


def _write_charge(
    writer: csv.DictWriter[str],
    counts: FocusCounts,
    charge: Charge,
    placement: Placement,
    on: InferenceRow | None,
    cost_usd: Decimal | None,
) -> None:
    if _is_left_out(placement, cost_usd, counts) or not charge.quantity:
        return
    assert cost_usd is not None
    writer.writerow(_charge_row(charge, placement, on, cost_usd))
    counts.rows += 1


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
            "ContractedUnitPrice": _money(contracted / quantity),
            "EffectiveCost": _money(contracted * factor),
            "ListCost": _money(list_cost),
            "ListUnitPrice": _money(list_cost / quantity),
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
    unit_price = _money(cost_usd / charge.quantity)
    return _common(placement, charge.trace_id, charge.span_id, provider) | {
        "BilledCost": _money(cost_usd),
        "ChargeDescription": charge.sku,
        "ConsumedQuantity": _money(charge.quantity),
        "ConsumedUnit": charge.unit,
        "ContractedCost": _money(cost_usd),
        "ContractedUnitPrice": unit_price,
        "EffectiveCost": _money(cost_usd),
        "ListCost": _money(cost_usd),
        "ListUnitPrice": unit_price,
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
        "SubAccountName": placement.service or "",
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
