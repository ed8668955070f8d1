"""Prices: the published list of the day of the call, and a user's own prices before it."""

from __future__ import annotations

from inferometer.profiles.prices.cards import Priced, RateCard
from inferometer.profiles.prices.pricing import PriceList, load_prices, price_by_card

__all__ = ["PriceList", "Priced", "RateCard", "load_prices", "price_by_card"]
