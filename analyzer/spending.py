"""What a set of calls cost, with how many of them have no price: a sum that leaves some out is a lower bound."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from inferometer.analyzer.costed_call import ZERO, CostedCall


@dataclass(slots=True)
class Spending:
    """Cost of a set of calls, each times its weight.

    Attributes:
        cost_usd: of those that have a price; None where there are calls and none has one.
        unpriced: calls without a price, weighted; above 0 the cost is a lower bound.
    """

    cost_usd: Decimal | None
    unpriced: int

    def as_dict(self) -> dict[str, Any]:
        """Return both as a document has them."""
        return {"cost_usd": self.cost_usd, "unpriced": self.unpriced}


def spending(calls: Iterable[CostedCall]) -> Spending:
    """Add calls up."""
    cost, unpriced, priced, seen = ZERO, 0.0, False, False
    for call in calls:
        seen = True
        if call.cost_usd is None:
            unpriced += call.weight
        else:
            priced = True
            cost += call.weighted_cost_usd
    return Spending(cost if priced or not seen else None, round(unpriced))
