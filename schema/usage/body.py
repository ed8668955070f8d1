"""What a provider's answer says about itself, whichever provider it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from inferometer.schema.meters import Meters
from inferometer.schema.records import Operation, UsageSemantics

ABSURD_TOKENS = 100_000_000
"""Tokens beyond which a count of one call is taken for a mistake: ten times the longest context window there is."""


@dataclass(slots=True)
class Fee:
    """Something an answer was charged for that is not tokens: ``quantity`` times the ``sku``, in ``unit``."""

    sku: str
    quantity: int
    unit: str


@dataclass(slots=True)
class BodyUsage:
    """What one answer says: tokens in disjoint meters, who answered, why it ended.

    ``raw`` is the provider's usage object, which holds no content; ``texts`` are the answer's texts, to count where
    the meters are not known, and are never stored. ``inner`` are calls that the provider made on the way and bills
    beside it, such as those to an advisor of another model. ``is_complete`` is False for a stream that broke off.
    """

    meters: Meters = field(default_factory=Meters)
    semantics: UsageSemantics = UsageSemantics.UNKNOWN
    raw: dict[str, Any] | None = None
    model: str | None = None
    response_id: str | None = None
    finish_reason: str | None = None
    service_tier: str | None = None
    cost_usd: Decimal | None = None
    queue_ns: int | None = None
    prefill_ns: int | None = None
    decode_ns: int | None = None
    operation: Operation = Operation.CHAT
    fees: list[Fee] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    inner: list[BodyUsage] = field(default_factory=list)
    is_complete: bool = True
    reasons: list[str] = field(default_factory=list)


def count_of(value: Any) -> int | None:
    """Return a number of tokens; None where it is negative, absurd or no whole number."""
    if type(value) is int:
        return value if 0 <= value <= ABSURD_TOKENS else None
    if isinstance(value, bool) or not isinstance(value, (float, str)):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if number.is_integer() and 0 <= number <= ABSURD_TOKENS else None


def money_of(value: Any) -> Decimal | None:
    """Return a cost in US dollars; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() and 0 <= amount < 10**9 else None


def mapping_of(value: Any) -> Mapping[str, Any]:
    """Return an object, an empty one where it is none."""
    return value if isinstance(value, Mapping) else {}


def text_of(value: Any) -> str | None:
    """Return a text that is not empty."""
    return value if isinstance(value, str) and value else None
