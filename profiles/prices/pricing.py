"""Pricing a call: the right list, day and tier for it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from inferometer.profiles.prices.cards import Priced, RateCard, price_meters
from inferometer.profiles.prices.published import PublishedPrices
from inferometer.schema.records import Charge, Inference, Operation
from inferometer.schema.rows import InferenceRow, Placement

_EARLIEST_NS = 1_420_070_400 * 1_000_000_000
"""2015: a time before it is an offset from the start of a recording, not a date."""

_ZERO = Decimal(0)
_WITH_OUTPUT = frozenset({Operation.CHAT, Operation.COMPLETION})
_STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand", "on-demand"})


def load_prices(user_file: str | Path | None = None) -> PriceList:
    """Return the price list.

    Args:
        user_file: a ``prices.toml``; None for ``INFEROMETER_PRICES``, else the one in the user's configuration
            directory, if there is one.

    Raises:
        ProfileError: the file breaks its rules.
    """
    return PriceList(PublishedPrices())


class PriceList:
    """Prices calls; safe to share between threads once it was made."""

    def __init__(self, published: PublishedPrices) -> None:
        self._published = published

    @property
    def as_of(self) -> date:
        """The day up to which the published list is known to be kept."""
        return self._published.as_of

    @property
    def version(self) -> str:
        """The published list's name and version."""
        return f"genai-prices {self._published.version}"

    def price(self, row: InferenceRow) -> Priced:
        """Return what one call cost by the list of its day."""
        return self.price_call(row.inference, row.placement.start_ns)

    def price_call(self, call: Inference, start_ns: int | None) -> Priced:
        """Return what a call that began then cost; ``start_ns`` is nanoseconds since 1970, None where unknown."""
        if not call.meters.is_known:
            return Priced(reason="no usage is known")
        card = self.card_of(call, start_ns)
        if isinstance(card, str):
            return Priced(reason=card)
        cost, notes = price_meters(call.meters, card)
        total = sum(cost.values(), start=_ZERO)
        meters = call.meters
        unknown = meters.input_total is None or (meters.output is None and call.operation in _WITH_OUTPUT)
        return Priced(total, total, total, cost, None, card, card.notes + notes, partial=unknown or bool(notes))

    def price_charge(self, charge: Charge, placement: Placement, row: InferenceRow | None) -> Decimal | None:
        """Return what a charge cost in US dollars; None where nobody says.

        Args:
            charge: the charge.
            placement: where it happened.
            row: the inference it is on, whose model's list may have a fee for it.
        """
        if charge.unit_price_usd is not None:
            return charge.quantity * charge.unit_price_usd
        if row is not None:
            card = self.card_of(row.inference, row.placement.start_ns)
            if not isinstance(card, str) and (fee := card.fees_usd.get(charge.sku)) is not None:
                return charge.quantity * fee
        return None

    def card_of(self, call: Inference, start_ns: int | None) -> RateCard | str:
        """Return the card by which a call is priced, or the reason why there is none."""
        names = [name for name in (call.response_model, call.request_model) if name]
        if not names:
            return "no model is named"
        reason = ""
        for name in dict.fromkeys(names):
            listed = self._published.find(call.provider, name)
            if not isinstance(listed, str):
                return self._published.card(listed, _moment(start_ns), price_context(call))
            reason = reason or listed
        return reason


def price_context(call: Inference) -> dict[str, str]:
    """Return what of a call selects another price than the standard one: batch, tier, speed."""
    tier = (call.service_tier or "").lower()
    if call.batch or tier == "batch":
        return {"processing": "batch"}
    context = {} if tier in _STANDARD_TIERS else {"service_tier": tier}
    speed = (call.raw_usage or {}).get("speed")
    if isinstance(speed, str) and speed not in {"standard", ""}:
        context["speed"] = speed
    return context


def _moment(start_ns: int | None) -> datetime | None:
    if start_ns is None or start_ns < _EARLIEST_NS:
        return None
    try:
        return datetime.fromtimestamp(start_ns // 1_000_000_000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None
