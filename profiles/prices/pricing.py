"""Pricing a call: the right list, day and tier for it, then what was negotiated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from inferometer.profiles.prices.agreements import Coverage, Settled, settle
from inferometer.profiles.prices.cards import Priced, RateCard, price_meters
from inferometer.profiles.prices.own import Discount, OwnPrices, find_own_file, load_own
from inferometer.profiles.prices.published import PublishedPrices
from inferometer.schema.meters import Meters
from inferometer.schema.moments import is_date
from inferometer.schema.records import Charge, Inference, Operation, UsageSource
from inferometer.schema.rows import InferenceRow, Placement, ToolCallRow

REFUSED = "refused by the provider: nothing is billed"
UNKNOWN_SPLIT = "how much of the input came from a cache is unknown: all of it priced as fresh"

_ZERO = Decimal(0)
_MINUTE_NS = 60 * 1_000_000_000
_CARDS_LIMIT = 100_000
"""Looked-up cards that are kept, some 20 MB."""
_WITH_OUTPUT = frozenset({Operation.CHAT, Operation.COMPLETION})
_STANDARD_TIERS = frozenset({"", "auto", "default", "standard", "standard_only", "on_demand", "on-demand"})
_CALL_UNITS = frozenset({"call", "request", "calls", "requests", "use", "invocation"})
_SECOND_UNITS = frozenset({"s", "second", "seconds"})


def load_prices(user_file: str | Path | None = None) -> PriceList:
    """Return the price list.

    Args:
        user_file: a ``prices.toml``; None for ``INFEROMETER_PRICES``, else the one in the user's configuration
            directory, if there is one.

    Raises:
        ProfileError: the file breaks its rules.
    """
    path = find_own_file() if user_file is None else Path(user_file)
    return PriceList(PublishedPrices(), OwnPrices() if path is None else load_own(path))


class PriceList:
    """Prices calls: by the user's own list, else by the published one."""

    def __init__(self, published: PublishedPrices, own: OwnPrices | None = None) -> None:
        self._published = published
        self._own = own or OwnPrices()
        self._cards: dict[tuple[object, ...], RateCard | str] = {}

    @property
    def as_of(self) -> date:
        """The day up to which the published list is known to be kept."""
        return self._published.as_of

    @property
    def version(self) -> str:
        """The lists' names and versions."""
        names = [f"genai-prices {self._published.version}"]
        if self._own.name and self._own != OwnPrices():
            names.insert(0, f"{self._own.name} {self._own.version}".strip())
        return ", ".join(names)

    @property
    def is_negotiated(self) -> bool:
        """Whether contracted or effective cost may differ from list."""
        return bool(self._own.discounts or self._own.agreements)

    def price(self, row: InferenceRow) -> Priced:
        """Return what one call cost by the list of its day."""
        return self.price_call(row.inference, row.placement.start_ns)

    def price_call(self, call: Inference, start_ns: int | None) -> Priced:
        """Return what a call that began then cost; ``start_ns`` is nanoseconds since 1970, None where unknown."""
        meters = call.meters
        if call.usage_source is UsageSource.REFUSED:
            return Priced(_ZERO, _ZERO, _ZERO, notes=(REFUSED,))
        if meters.input_total is None and meters.output is None:
            return Priced(reason="no usage is known")
        card = self.card_of(call, start_ns)
        if isinstance(card, str):
            return Priced(reason=card)
        priced = price_by_card(meters, card, call.operation)
        if self.is_negotiated:
            self._negotiate(call, start_ns, priced)
        return priced

    def other_sellers(self, provider: str | None, model: str) -> list[tuple[str, str]]:
        """Return (provider, name there) of those other than `provider` by whose published list a model is sold."""
        own = self._published.provider_id(provider)
        return [(seller, name) for seller, name in self._published.sellers(model) if seller != own]

    def price_charge(self, charge: Charge, placement: Placement, row: InferenceRow | None) -> Decimal | None:
        """Return what a charge cost in US dollars; None where nobody says.

        Args:
            charge: the charge.
            placement: where it happened.
            row: the inference it is on, whose model's list may have a fee for it.
        """
        own = self._own.tools.get(charge.sku)
        if own is not None:
            by_unit = {
                **dict.fromkeys(_CALL_UNITS, own.per_call_usd),
                **dict.fromkeys(_SECOND_UNITS, own.per_second_usd),
            }
            price_usd = by_unit.get(charge.unit, own.per_unit_usd)
            if price_usd is not None:
                return charge.quantity * price_usd
        if charge.unit_price_usd is not None:
            return charge.quantity * charge.unit_price_usd
        if row is not None:
            card = self.card_of(row.inference, row.placement.start_ns)
            if not isinstance(card, str) and (fee := card.fees_usd.get(charge.sku)) is not None:
                return charge.quantity * fee
        return None

    @property
    def has_tools(self) -> bool:
        """Whether the user gave prices of tools."""
        return bool(self._own.tools)

    def price_tool(self, row: ToolCallRow) -> Decimal | None:
        """Return what a tool call cost by the user's ``[tools."name"]``; None where that says nothing of it."""
        own = self._own.tools.get(row.tool_call.name)
        if own is None:
            return None
        if own.per_call_usd is None and own.per_second_usd is None:
            return None
        cost = own.per_call_usd or _ZERO
        if own.per_second_usd is not None:
            duration_ns = row.tool_call.duration_ns or row.placement.duration_ns
            if duration_ns is None:
                return None
            cost += own.per_second_usd * duration_ns / 1_000_000_000
        return cost

    def card_of(self, call: Inference, start_ns: int | None) -> RateCard | str:
        """Return the card by which a call is priced, or the reason why there is none."""
        if not is_date(start_ns):
            return self._look_up(call, None)
        # a list's price may change with the minute, and with nothing shorter
        key = (
            start_ns // _MINUTE_NS,
            call.provider,
            call.response_model,
            call.request_model,
            call.service_tier,
            call.batch,
            call.raw_usage.get("speed") if call.raw_usage else None,
        )
        try:
            found = self._cards.get(key)
        except TypeError:  # a speed that is no word
            return self._look_up(call, start_ns)
        if found is None:
            if len(self._cards) >= _CARDS_LIMIT:
                self._cards.clear()
            found = self._cards[key] = self._look_up(call, start_ns)
        return found

    def _look_up(self, call: Inference, start_ns: int | None) -> RateCard | str:
        names = _names_of(call)
        if not names:
            return "no model is named"
        moment = _moment(start_ns)
        if self._own.models:
            own = self._own_card(call, names, moment)
            if own is not None:
                return own
        reason = ""
        for name in names:
            listed = self._published.find(call.provider, name)
            if not isinstance(listed, str):
                return self._published.card(listed, moment, price_context(call))
            reason = reason or listed
        return reason

    def settle(
        self, contracted_usd: Mapping[Coverage, Decimal], window_ns: tuple[int, int] | None
    ) -> tuple[dict[Coverage, Decimal], list[Settled]]:
        """Return what provisioned throughput, commitments and credits make of contracted cost; see `agreements`."""
        return settle(self._own.agreements, contracted_usd, window_ns)

    def _own_card(self, call: Inference, names: tuple[str, ...], moment: datetime | None) -> RateCard | None:
        day = moment.date() if moment else None
        for model in self._own.models:
            if model.scope.holds((call.provider,), names, day):
                card = replace(model.card, as_of=day)
                if price_context(call).get("processing") == "batch":
                    if model.batch_factor is None:
                        note = f"{card.list_name} has no batch price for this model: standard price"
                        return replace(card, tier="batch", notes=(*card.notes, note))
                    rates = {name: rate.scaled(model.batch_factor) for name, rate in card.rates.items()}
                    return replace(card, tier="batch", rates=rates)
                return card
        return None

    def _negotiate(self, call: Inference, start_ns: int | None, priced: Priced) -> None:
        """Set the contracted cost and the agreements that cover the call; effective cost needs all calls."""
        names, moment = _names_of(call), _moment(start_ns)
        day = moment.date() if moment else None
        providers = (call.provider, priced.card.provider if priced.card else None)
        discount = next((one for one in self._own.discounts if one.scope.holds(providers, names, day)), None)
        if discount is not None and priced.card is not None and priced.list_cost_usd is not None:
            costs, _ = price_meters(call.meters, _contracted_card(priced.card, discount))
            priced.cost_by_meter_usd = costs
            priced.contracted_cost_usd = priced.effective_cost_usd = sum(costs.values(), start=_ZERO)
        priced.coverage = tuple(
            place
            for place, agreement in enumerate(self._own.agreements)
            if agreement.scope.holds(providers, names, day)
        )


def price_by_card(meters: Meters, card: RateCard, operation: Operation) -> Priced:
    """Return what some tokens of one call cost by a card, nothing negotiated."""
    input_tokens = meters.input_total
    cost, notes = price_meters(meters, card, input_tokens or 0)
    total = sum(cost.values(), _ZERO)
    unknown = input_tokens is None or (meters.output is None and operation in _WITH_OUTPUT)
    shown = card.notes + notes
    if meters.cache_read is None and meters.input_fresh and card.rates.get("cache_read") != card.rates.get("input"):
        shown += (UNKNOWN_SPLIT,)
    return Priced(total, total, total, cost, None, card, shown, unknown or bool(notes))


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


def _contracted_card(card: RateCard, discount: Discount) -> RateCard:
    left = 1 - discount.share
    rates = {name: rate.scaled(left) for name, rate in card.rates.items()} | discount.rates
    fees = {sku: fee * left for sku, fee in card.fees_usd.items()}
    return replace(card, rates=rates, fees_usd=fees)


def _names_of(call: Inference) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in (call.response_model, call.request_model) if name))


def _moment(start_ns: int | None) -> datetime | None:
    if not is_date(start_ns):
        return None
    try:
        return datetime.fromtimestamp(start_ns // 1_000_000_000, tz=UTC)
    except (OverflowError, ValueError, OSError):
        return None
