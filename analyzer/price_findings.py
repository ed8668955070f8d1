"""Recorded costs that differ from the list in the same way call after call.

A recorded cost is what the traced program or its instrumentation wrote down. Where it is the same multiple of the list
price in nearly all calls of a model, the cause is one of a few, and the cheapest to state is looked for first.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from inferometer.profiles.prices import Priced
from inferometer.schema.rows import InferenceRow
from inferometer.schema.wording import counted

SHARE = Decimal("0.9")
"""Of a model's calls that must agree on the ratio for it to be systematic."""

LEAST_CALLS = 3
EQUAL_USD = Decimal("1e-9")
"""Recorded and list cost are the same within it: sources write binary fractions."""

_MILLI = Decimal("0.001")
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


@dataclass(frozen=True, slots=True)
class _Seen:
    recorded: Decimal
    row: InferenceRow
    priced: Priced


@dataclass(slots=True)
class _Tally:
    """What was seen of one model; ``ratios`` counts recorded over list to three digits, ``causes`` what explains it."""

    calls: int = 0
    different: int = 0
    recorded: Decimal = _ZERO
    listed: Decimal = _ZERO
    ratios: Counter[Decimal] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    flat_rates: Counter[Decimal] = field(default_factory=Counter)


class PriceWitness:
    """Sees priced calls and tells which recorded costs are systematically different."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str | None], _Tally] = defaultdict(_Tally)

    def see(self, row: InferenceRow, priced: Priced) -> None:
        """Look at one call; those without a recorded or a list cost say nothing."""
        recorded, listed = row.inference.recorded_cost_usd, priced.list_cost_usd
        if recorded is None or listed is None or recorded == listed == 0:
            return
        tally = self._tallies[row.inference.model or "unknown", row.inference.provider]
        tally.calls += 1
        if abs(recorded - listed) <= EQUAL_USD:
            return
        tally.different += 1
        tally.recorded += recorded
        tally.listed += listed
        if listed:
            tally.ratios[(recorded / listed).quantize(_MILLI)] += 1
        tokens = row.inference.meters.total
        if tokens and recorded:
            tally.flat_rates[(recorded / tokens * 1_000_000).quantize(_MILLI)] += 1
        seen = _Seen(recorded, row, priced)
        for cause, cost in _CAUSES:
            explained = cost(seen)
            if explained is not None and abs(explained - recorded) <= EQUAL_USD:
                tally.causes[cause] += 1

    def findings(self) -> list[PriceFinding]:
        """Return the findings, the largest difference first."""
        found = [
            _judge(model, provider, tally) for (model, provider), tally in self._tallies.items() if tally.different
        ]
        return sorted(found, key=lambda finding: (-abs(finding.recorded_usd - finding.list_usd), finding.model))


def _judge(model: str, provider: str | None, tally: _Tally) -> PriceFinding:
    ratio, agreeing = None, 0
    if tally.ratios:
        ratio = max(tally.ratios, key=lambda ratio: (tally.ratios[ratio], ratio))
        # a ratio on the edge between two roundings is one ratio
        agreeing = sum(tally.ratios[near] for near in (ratio - _MILLI, ratio, ratio + _MILLI))
    if ratio is None or tally.different < LEAST_CALLS or agreeing < SHARE * tally.calls:
        ratio, agreeing = None, tally.different
        text = f"recorded cost differs from list in {tally.different} of {counted(tally.calls, 'call')}"
        if tally.different >= LEAST_CALLS:
            text += ", by no common factor"
    else:
        text = f"recorded cost is {ratio}x list for this model in {agreeing} of {counted(tally.calls, 'call')}"
    if cause := _cause(tally):
        text = f"{text}: {cause}"
    return PriceFinding(model, provider, agreeing, tally.calls, ratio, tally.recorded, tally.listed, text)


def _cause(tally: _Tally) -> str | None:
    for cause, _ in _CAUSES:
        if tally.causes[cause] >= SHARE * tally.different:
            return cause
    rate, calls = max(tally.flat_rates.items(), key=lambda found: (found[1], found[0]), default=(None, 0))
    if rate is not None and tally.different > 1 and calls >= SHARE * tally.different:
        return f"it prices every token alike, at ${rate.normalize():f} a million"
    return None


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
