"""Meters that a call leaves open: a sum over such calls is a bound, and is marked as one."""

from __future__ import annotations

from inferometer.profiles.prices.cards import RateCard
from inferometer.schema.records import Inference, Operation, UsageSource

_WRITING = frozenset({Operation.CHAT, Operation.COMPLETION})
_CACHES = frozenset({"cache_read", "cache_write_5m", "cache_write_1h"})


def is_open(call: Inference, meter: str, card: RateCard | None) -> bool:
    """Return whether a call that does not state a meter may hold tokens of it.

    Args:
        call: whose meter is None.
        meter: one of `accounting.METERS`.
        card: by which the call is priced; a cache that it has no rate of its own for is none that tokens go through.
            Where there is no card, nothing says so.
    """
    if call.usage_source is UsageSource.REFUSED:
        return False
    if meter in _CACHES:
        return card is None or (meter in card.rates and card.rates[meter] != card.rates.get("input"))
    if meter == "input_fresh":
        return True
    return call.operation in _WRITING and call.meters.output != 0


def is_unsplit(call: Inference, card: RateCard | None) -> bool:
    """Return whether a priced call does not say what came from a cache, so that its cost is an estimate."""
    meters = call.meters
    return (
        meters.cache_read is None
        and bool(meters.input_fresh)
        and card is not None
        and is_open(call, "cache_read", card)
    )


def has_open_usage(call: Inference) -> bool:
    """Return whether a call's tokens in or out are unknown."""
    meters = call.meters
    if call.usage_source is UsageSource.REFUSED:
        return False
    return meters.input_total is None or (meters.output is None and is_open(call, "output", None))
