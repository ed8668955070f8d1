"""A call as it would have been: other meters, another model or tier, priced again by the same list of the same day."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from decimal import Decimal
from operator import attrgetter

from inferometer.analyzer.costed_call import ZERO, CostedCall, PriceCall, costed
from inferometer.profiles.prices import Priced, price_by_card
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference
from inferometer.schema.rows import InferenceRow

FRESH_FIRST = ("input_fresh", "cache_write_5m", "cache_write_1h", "cache_read")
READS_FIRST = ("cache_read", "input_fresh", "cache_write_5m", "cache_write_1h")
"""In which order tokens leave a call's input: those it brought in, or those it carried along."""


def changed_inference(call: CostedCall, inference: Inference, price: PriceCall) -> CostedCall:
    """Return the call with another inference in its place; what was added to its price stays."""
    return costed(InferenceRow(inference, call.placement), price, call.extra_usd)


def with_meters(call: CostedCall, price: PriceCall, **tokens: int | None) -> CostedCall:
    """Return the call with some meters set to other token counts."""
    meters = _changed_meters(call, tokens)
    return call.with_meters(meters, _price_of(call, meters, price))


def priced_with(call: CostedCall, price: PriceCall, **tokens: int | None) -> Priced:
    """Return the price of the call with some meters set to other token counts."""
    return _price_of(call, _changed_meters(call, tokens), price)


def _changed_meters(call: CostedCall, tokens: Mapping[str, int | None]) -> Meters:
    meters = Meters(*_METER_VALUES(call.meters))
    for name, value in tokens.items():
        setattr(meters, name, value)
    return meters


def _price_of(call: CostedCall, meters: Meters, price: PriceCall) -> Priced:
    """Return the price of a call's other tokens: by the card that it was priced by, unless that was negotiated."""
    was = call.priced
    is_list = was.card is not None and was.contracted_cost_usd is was.list_cost_usd and not was.coverage
    if is_list and was.card is not None and meters.is_known:
        return price_by_card(meters, was.card, call.operation)
    return price(call.with_meters(meters, was).row)


_WEIGHTED_COST = attrgetter("weighted_cost_usd")
_METER_VALUES = attrgetter(*(field.name for field in fields(Meters)))


def with_model(call: CostedCall, price: PriceCall, model: str, provider: str | None = None) -> CostedCall:
    """Return the call as made to another model, with the same tokens."""
    changed = replace(
        call.inference,
        request_model=model,
        response_model=model,
        provider=provider or call.provider,
        recorded_cost_usd=None,
    )
    return changed_inference(call, changed, price)


def with_batch(call: CostedCall, price: PriceCall) -> CostedCall:
    """Return the call as sent through the provider's batch interface."""
    return changed_inference(call, replace(call.inference, batch=True, service_tier="batch"), price)


def with_tier(call: CostedCall, price: PriceCall, tier: str) -> CostedCall:
    """Return the call as made at another service tier, such as ``flex``."""
    return changed_inference(call, replace(call.inference, service_tier=tier), price)


def dropped(call: CostedCall, price: PriceCall) -> CostedCall:
    """Return the call as if it had not been made: no tokens, and nothing that a later one could read."""
    nothing = Meters(input_fresh=0, cache_read=0, output=0)
    return changed_inference(call, replace(call.inference, meters=nothing, prefix=None), price)


def less_input(call: CostedCall, price: PriceCall, tokens: int, *, fresh_first: bool = False) -> CostedCall:
    """Return the call with fewer input tokens, taken from what is cheapest to lose last.

    Args:
        call: the call.
        price: gives its price.
        tokens: how many input tokens fall away.
        fresh_first: take them from fresh input first, as for what this call brought in; else from cache reads first, as
            for what was carried along.
    """
    meters = call.meters
    changes: dict[str, int | None] = {}
    left = tokens
    for name in FRESH_FIRST if fresh_first else READS_FIRST:
        have = getattr(meters, name)
        if have and left > 0:
            taken = min(have, left)
            changes[name] = have - taken
            left -= taken
    return with_meters(call, price, **changes) if changes else call


def input_cost_usd(call: CostedCall, tokens: int, *, fresh_first: bool = False) -> Decimal | None:
    """Return what a part of a call's input cost, by what each of its meters cost per token; see `less_input`.

    This is `less_input` without pricing again: exact but where fewer tokens would bring the call into a cheaper tier.
    """
    if call.cost_usd is None:
        return None
    cost, left = ZERO, tokens
    for name in FRESH_FIRST if fresh_first else READS_FIRST:
        have = getattr(call.meters, name)
        if have and left > 0:
            taken = min(have, left)
            cost += call.cost_by_meter_usd.get(name, ZERO) * taken / have
            left -= taken
    return cost


def saving_usd(before: Iterable[CostedCall], after: Iterable[CostedCall]) -> Decimal:
    """Return what the second list costs less than the first, weighted."""
    return cost_usd(before) - cost_usd(after)


def cost_usd(calls: Iterable[CostedCall]) -> Decimal:
    """Return what calls cost, weighted; those without a price add nothing."""
    return sum(map(_WEIGHTED_COST, calls), ZERO)
