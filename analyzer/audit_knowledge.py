"""What an audit knows beside the traces, put together from the profiles."""

from __future__ import annotations

from functools import lru_cache

from inferometer.analyzer.audit import Knowledge
from inferometer.analyzer.ledger import Ledger
from inferometer.profiles.models import load_model
from inferometer.profiles.prices import PriceList
from inferometer.schema.errors import UnknownNameError


@lru_cache(maxsize=1024)
def active_parameters(model: str) -> float | None:
    """Return the active parameters of an open model; None where it is closed or has no profile."""
    try:
        return load_model(model).active_parameters
    except UnknownNameError:
        return None


def knowledge_of(prices: PriceList, ledger: Ledger) -> Knowledge:
    """Return the knowledge of an audit.

    Raises:
        ProfileError: a profile breaks its rules.
    """
    return Knowledge(
        prices_as_of=prices.as_of.isoformat(),
        price_list=prices.version,
        active_parameters=active_parameters,
        ledger=ledger,
    )
