"""What an audit knows beside the traces, put together from the profiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from inferometer.analyzer.audit import Knowledge
from inferometer.analyzer.ledger import Ledger
from inferometer.profiles.models import load_model
from inferometer.profiles.prices import PriceList
from inferometer.schema.errors import UnknownNameError


def active_parameters() -> Callable[[str], float | None]:
    """Return a look-up of an open model's active parameters; None where it is closed or has no profile."""

    @lru_cache(maxsize=1024)
    def look_up(model: str) -> float | None:
        try:
            return load_model(model).active_parameters
        except UnknownNameError:
            return None

    return look_up


def knowledge_of(prices: PriceList, ledger: Ledger) -> Knowledge:
    """Return the knowledge of an audit.

    Raises:
        ProfileError: a profile breaks its rules.
    """
    return Knowledge(
        prices_as_of=prices.as_of.isoformat(),
        price_list=prices.version,
        active_parameters=active_parameters(),
        ledger=ledger,
    )
