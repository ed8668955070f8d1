"""What a list says about one model on one day, and what that makes of one call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from inferometer.schema.meters import Meters

_PER_MILLION = Decimal("0.000001")
_ZERO = Decimal(0)

PARTS: tuple[tuple[str, str], ...] = (
    # (rate, the disjoint meter it belongs to); the part that bears its meter's name is what the others leave over
    ("input_audio", "input_fresh"),
    ("input_image", "input_fresh"),
    ("input", "input_fresh"),
    ("cache_read_audio", "cache_read"),
    ("cache_read", "cache_read"),
    ("cache_write_5m", "cache_write_5m"),
    ("cache_write_1h", "cache_write_1h"),
    ("output_audio", "output"),
    ("output_image", "output"),
    ("reasoning", "output"),
    ("output", "output"),
)
"""How the tokens of a meter are told apart by price; the parts of a meter are disjoint and add up to it."""


@dataclass(frozen=True, slots=True)
class Rate:
    """US dollars per million tokens, by the size of the whole request.

    ``tiers`` are (input tokens, rate): the last whose tokens the request's whole input exceeds holds for all of it.
    """

    base: Decimal
    tiers: tuple[tuple[int, Decimal], ...] = ()

    def at(self, input_tokens: int) -> Decimal:
        """Return the rate for a request of that many input tokens, cached ones included."""
        rate = self.base
        for start, tier_rate in self.tiers:
            if input_tokens > start:
                rate = tier_rate
        return rate

    def scaled(self, factor: Decimal) -> Rate:
        """Return the rate times a factor in every tier."""
        return Rate(self.base * factor, tuple((start, rate * factor) for start, rate in self.tiers))


@dataclass(frozen=True, slots=True)
class RateCard:
    """The rates of one model on one day.

    Args:
        provider: whose list it is.
        model: the list's name of the model.
        list_name: the list's name.
        list_version: its version, or its file.
        as_of: the day of the call it was looked up for; None where the call's time is unknown.
        tier: standard, batch, flex, priority or fast.
        rates: by the names of `PARTS`; a part that is missing is not told apart by price.
        fees_usd: by sku, for one piece: ``request``, ``web_search`` and other tools of the provider.
        notes: what had to be assumed.
    """

    provider: str
    model: str
    list_name: str
    list_version: str
    as_of: date | None
    tier: str
    rates: Mapping[str, Rate]
    fees_usd: Mapping[str, Decimal] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Priced:
    """One call's cost; None with a ``reason`` where it is not known.

    ``list_cost_usd`` is by the list of the day, ``contracted_cost_usd`` after negotiated rates and discounts;
    ``effective_cost_usd`` is the same until `PriceList.settle` has seen all calls, and ``cost_by_meter_usd`` splits it.
    A ``partial`` cost leaves out a meter that is unknown or has no price.
    """

    list_cost_usd: Decimal | None = None
    contracted_cost_usd: Decimal | None = None
    effective_cost_usd: Decimal | None = None
    cost_by_meter_usd: Mapping[str, Decimal] = field(default_factory=dict)
    reason: str | None = None
    card: RateCard | None = None
    notes: tuple[str, ...] = ()
    partial: bool = False
    coverage: tuple[int, ...] = ()
    """Agreements of the user's that hold for the call; see `agreements`."""


_WHOLES: tuple[tuple[str, str, tuple[str, ...]], ...] = tuple(
    (rates[-1], meter, rates[:-1])
    for meter in dict.fromkeys(meter for _, meter in PARTS)
    if (rates := tuple(rate for rate, whole in PARTS if whole == meter))
)
"""(rate of what is left over, meter, rates of its parts), in the order of `PARTS`."""


_SPLITS = frozenset(rate for _, _, splits in _WHOLES for rate in splits)


def split_meters(meters: Meters, rates: Mapping[str, Rate]) -> list[tuple[str, str, int]]:
    """Return (rate, meter, tokens) for every priced part of a call's tokens."""
    parts = []
    if _SPLITS.isdisjoint(rates):  # as of nearly all models
        for whole, meter, _ in _WHOLES:
            tokens = getattr(meters, meter)
            if tokens and tokens > 0:
                parts.append((whole, meter, tokens))
        return parts
    for whole, meter, splits in _WHOLES:
        left = getattr(meters, meter)
        if not left:
            continue
        for rate in splits:
            if rate in rates and (count := getattr(meters, rate)):
                if rate == "input_audio":
                    # a provider's audio count holds cached audio too, and that has a rate of its own
                    count -= meters.cache_read_audio or 0
                # a split that claims more than its whole can only be paid up to the whole
                tokens = min(count, left)
                if tokens > 0:
                    left -= tokens
                    parts.append((rate, meter, tokens))
        if left > 0:
            parts.append((whole, meter, left))
    return parts


def price_meters(
    meters: Meters, card: RateCard, input_tokens: int | None = None
) -> tuple[dict[str, Decimal], tuple[str, ...]]:
    """Return (US dollars by meter, notes) of one call by one card; ``input_tokens`` where they are summed already."""
    if input_tokens is None:
        input_tokens = meters.input_total or 0
    cost: dict[str, Decimal] = {}
    notes: list[str] = []
    for part, meter, tokens in split_meters(meters, card.rates):
        rate = card.rates.get(part)
        if rate is None:
            notes.append(f"the list has no price for {part} of this model")
            continue
        usd_per_mtok = rate.at(input_tokens) if rate.tiers else rate.base
        amount = tokens * usd_per_mtok * _PER_MILLION
        cost[meter] = cost[meter] + amount if meter in cost else amount
    if (meters.input_audio or meters.cache_read_audio) and "input_audio" not in card.rates:
        notes.append("the list has no price for audio input of this model: priced as text")
    if meters.output_audio and "output_audio" not in card.rates:
        notes.append("the list has no price for audio output of this model: priced as text")
    if fee := card.fees_usd.get("request"):
        cost["requests"] = fee
    return cost, tuple(notes)
