"""Recorded costs that differ from the list in the same way call after call.

A recorded cost is what the traced program or its instrumentation wrote down. Where it is the same multiple of the list
price in nearly all calls of a model, the cause is one of a few, and the cheapest to state is looked for first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from inferometer.profiles.prices import Priced
from inferometer.schema.rows import InferenceRow

SHARE = Decimal("0.9")
"""Of a model's calls that must agree on the ratio for it to be systematic."""

LEAST_CALLS = 3
_TOLERANCE = Decimal("0.0005")
_EQUAL = Decimal("1e-9")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class PriceFinding:
    """Calls of one model whose recorded cost is not the list's.

    ``recorded_over_list`` is the common ratio, None where the calls do not agree on one.
    """

    model: str
    provider: str | None
    calls: int
    of_calls: int
    recorded_over_list: Decimal | None
    recorded_usd: Decimal
    list_usd: Decimal
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of the audit's ``price_findings``."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class _Seen:
    recorded: Decimal
    listed: Decimal
    row: InferenceRow
    priced: Priced


class PriceWitness:
    """Sees priced calls and tells which recorded costs are systematically different."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str | None], list[_Seen]] = defaultdict(list)

    def see(self, row: InferenceRow, priced: Priced) -> None:
        """Look at one call; those without a recorded or a list cost say nothing."""
        recorded = row.inference.recorded_cost_usd
        if recorded is None or priced.list_cost_usd is None:
            return
        if recorded == 0 and priced.list_cost_usd == 0:
            return
        key = (row.inference.model or "unknown", row.inference.provider)
        self._seen[key].append(_Seen(recorded, priced.list_cost_usd, row, priced))

    def findings(self) -> list[PriceFinding]:
        """Return the findings, the largest difference first."""
        found = [
            finding for (model, provider), seen in self._seen.items() if (finding := _judge(model, provider, seen))
        ]
        return sorted(found, key=lambda finding: (-abs(finding.recorded_usd - finding.list_usd), finding.model))


def _judge(model: str, provider: str | None, seen: list[_Seen]) -> PriceFinding | None:
    different = [one for one in seen if abs(one.recorded - one.listed) > _EQUAL]
    if not different:
        return None
    recorded = sum((one.recorded for one in different), start=_ZERO)
    listed = sum((one.listed for one in different), start=_ZERO)
    ratios = sorted(one.recorded / one.listed for one in different if one.listed)
    middle = ratios[len(ratios) // 2] if ratios else None
    agreeing = [
        one
        for one in different
        if middle is not None and one.listed and abs(one.recorded / one.listed - middle) <= _TOLERANCE * max(middle, 1)
    ]
    systematic = len(different) >= LEAST_CALLS and len(agreeing) >= SHARE * len(seen)
    if systematic and middle is not None:
        shown = middle.quantize(Decimal("0.001"))
        text = f"recorded cost is {shown}x list for this model in {len(agreeing)} of {len(seen)} calls"
        return PriceFinding(
            model, provider, len(agreeing), len(seen), shown, recorded, listed, _because(text, agreeing)
        )
    text = f"recorded cost differs from list in {len(different)} of {len(seen)} calls, by no common factor"
    return PriceFinding(model, provider, len(different), len(seen), None, recorded, listed, _because(text, different))


def _because(text: str, seen: list[_Seen]) -> str:
    for cause, cost in _CAUSES:
        if all((other := cost(one)) is not None and abs(other - one.recorded) <= _EQUAL for one in seen):
            return f"{text}: {cause}"
    return text


def _without_cache_rates(one: _Seen) -> Decimal | None:
    """Return the cost had every input token been fresh."""
    card, meters = one.priced.card, one.row.inference.meters
    if card is None or "input" not in card.rates:
        return None
    total = meters.input_total or 0
    output = one.priced.cost_by_meter_usd.get("output", _ZERO)
    return total * card.rates["input"].at(total) * Decimal("0.000001") + output


def _without_cached_tokens(one: _Seen) -> Decimal | None:
    """Return the cost of fresh input and output alone."""
    costs = one.priced.cost_by_meter_usd
    if not any(costs.get(meter) for meter in ("cache_read", "cache_write_5m", "cache_write_1h")):
        return None
    return costs.get("input_fresh", _ZERO) + costs.get("output", _ZERO)


def _cached_twice(one: _Seen) -> Decimal | None:
    """Return the cost had cached tokens been charged as fresh input besides their own rate."""
    card, meters = one.priced.card, one.row.inference.meters
    if card is None or "input" not in card.rates or not meters.cache_read or one.priced.list_cost_usd is None:
        return None
    total = meters.input_total or 0
    return one.priced.list_cost_usd + meters.cache_read * card.rates["input"].at(total) * Decimal("0.000001")


def _reasoning_twice(one: _Seen) -> Decimal | None:
    card, meters = one.priced.card, one.row.inference.meters
    if card is None or "output" not in card.rates or not meters.reasoning or one.priced.list_cost_usd is None:
        return None
    rate = card.rates["output"].at(meters.input_total or 0)
    return one.priced.list_cost_usd + meters.reasoning * rate * Decimal("0.000001")


def _input_only(one: _Seen) -> Decimal | None:
    costs = one.priced.cost_by_meter_usd
    return sum((cost for meter, cost in costs.items() if meter != "output"), start=_ZERO) if "output" in costs else None


def _output_only(one: _Seen) -> Decimal | None:
    costs = one.priced.cost_by_meter_usd
    return costs.get("output") if len(costs) > 1 else None


def _base_tier(one: _Seen) -> Decimal | None:
    card, meters = one.priced.card, one.row.inference.meters
    if card is None or not any(rate.tiers for rate in card.rates.values()):
        return None
    from inferometer.profiles.prices.cards import split_meters

    parts = split_meters(meters, card.rates)
    return sum(
        (tokens * card.rates[rate].base * Decimal("0.000001") for rate, _, tokens in parts if rate in card.rates),
        start=_ZERO,
    )


_CAUSES: tuple[tuple[str, Callable[[_Seen], Decimal | None]], ...] = (
    ("nothing was recorded for tokens that have a price", lambda one: _ZERO),
    ("it prices cached tokens as fresh input", _without_cache_rates),
    ("it leaves cached tokens out", _without_cached_tokens),
    ("it charges cached tokens twice, as fresh input and as cache reads", _cached_twice),
    ("it charges reasoning tokens twice", _reasoning_twice),
    ("it leaves output out", _input_only),
    ("it leaves input out", _output_only),
    ("it ignores the tier for long requests", _base_tier),
)
