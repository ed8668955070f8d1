"""What money that is not paid call by call makes of the cost of calls.

Provisioned throughput costs its hours, used or not: the calls it covers share that cost in proportion to their
contracted price. Credits pay for calls until they are used up, and their worth is spread over all the calls they cover.
A commitment does not change what a call costs; what of it was not used is shown beside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from inferometer.profiles.prices.own import Agreement

Coverage = tuple[int, ...]
"""Places, in the list of agreements, of those that hold for a call."""

_ZERO = Decimal(0)
_HOUR = Decimal(3600)


@dataclass(frozen=True, slots=True)
class Settled:
    """One agreement over the window: what it was for, what was used of it, US dollars.

    ``amount_usd`` is the sum promised, given or spent on hours within the window; ``used_usd`` is the contracted price
    of the calls it covers, for a credit at most its amount.
    """

    name: str
    kind: str
    amount_usd: Decimal
    used_usd: Decimal
    unused_usd: Decimal
    hours: Decimal | None

    def as_dict(self) -> dict[str, Any]:
        """Return the entry of the ``cost`` document."""
        return {name: getattr(self, name) for name in self.__slots__}


def settle(
    agreements: Sequence[Agreement],
    contracted_usd: Mapping[Coverage, Decimal],
    window_ns: tuple[int, int] | None,
) -> tuple[dict[Coverage, Decimal], list[Settled]]:
    """Return the effective cost of a contracted dollar by coverage, and how each agreement was used.

    Args:
        agreements: all of them.
        contracted_usd: contracted cost of the calls of the window, by the agreements that hold for them.
        window_ns: first and last nanosecond since 1970 of the window; None where no call has a time.
    """
    factors = dict.fromkeys(contracted_usd, Decimal(1))
    settled: dict[int, Settled] = {}
    order = sorted(range(len(agreements)), key=lambda place: agreements[place].kind == "credit")
    for place in order:
        agreement = agreements[place]
        covered = [coverage for coverage in contracted_usd if place in coverage]
        used = sum((contracted_usd[coverage] * factors[coverage] for coverage in covered), start=_ZERO)
        hours = None
        amount = agreement.amount_usd or _ZERO
        if agreement.kind == "provisioned":
            hours = _hours(agreement, window_ns)
            amount = hours * (agreement.usd_per_hour or _ZERO)
        if agreement.kind != "commitment" and used:
            left = amount / used if agreement.kind == "provisioned" else max(_ZERO, 1 - amount / used)
            for coverage in covered:
                factors[coverage] *= left
        if agreement.kind == "credit":
            used = min(used, amount)
        unused = max(_ZERO, amount - used)
        settled[place] = Settled(agreement.name, agreement.kind, amount, used, unused, hours)
    return factors, [settled[place] for place in sorted(settled)]


def _hours(agreement: Agreement, window_ns: tuple[int, int] | None) -> Decimal:
    scope = agreement.scope
    if window_ns is None or scope.first is None or scope.last is None:
        return _ZERO
    first = datetime.combine(scope.first, time.min, UTC).timestamp()
    last = (datetime.combine(scope.last, time.min, UTC) + timedelta(days=1)).timestamp()
    seconds = min(Decimal(int(last)), Decimal(window_ns[1]) / 10**9) - max(
        Decimal(int(first)), Decimal(window_ns[0]) / 10**9
    )
    return max(_ZERO, seconds) / _HOUR
