"""Accounting: every billable call once, every token in its own meter, priced by the list of its day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from operator import attrgetter
from typing import Any

from inferometer.analyzer.estimation import Interval, SampledSum
from inferometer.analyzer.grouping import Grouping, grouping
from inferometer.analyzer.open_meters import is_open, is_unsplit
from inferometer.analyzer.price_findings import PriceFinding, PriceWitness
from inferometer.analyzer.tool_fees import tool_fees
from inferometer.profiles.prices import Priced, PriceList
from inferometer.profiles.prices.agreements import Coverage, Settled
from inferometer.schema.moments import is_date
from inferometer.schema.records import Charge, UsageSource
from inferometer.schema.rows import InferenceRow, Placement, ToolCallRow
from inferometer.schema.selection import Selection
from inferometer.store import Store

METERS = ("input_fresh", "cache_read", "cache_write_5m", "cache_write_1h", "output", "reasoning")

_TOKENS = attrgetter(*METERS)
_MONEY = ("cost_usd", "contracted_cost_usd", "effective_cost_usd", "recorded_cost_usd", "charges_usd")
_DAY_NS = 86_400 * 1_000_000_000
_PICODOLLAR = Decimal("1e-12")
_ZERO = Decimal(0)


@dataclass(slots=True)
class Group:
    """Sums over the calls of one key; over sampled traces they are estimates, each call times its weight.

    Money is US dollars, meters tokens; None is unknown, because no call of the group says. ``meters_open`` counts the
    calls that leave a meter open: above 0, its tokens are a lower bound. ``cost_usd`` is by list price,
    ``effective_cost_usd`` after contract, commitments and credits; charges are in neither. ``partial`` counts priced
    calls with a meter that is unknown or has no price, ``unsplit`` those that do not say what came from a cache and are
    priced as if nothing had, ``observed`` records before weighting.
    """

    key: str | None
    inferences: int = 0
    runs: int = 0
    meters: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(METERS))
    meters_open: dict[str, int] = field(default_factory=lambda: dict.fromkeys(METERS, 0))
    cost_usd: Decimal | None = None
    contracted_cost_usd: Decimal | None = None
    effective_cost_usd: Decimal | None = None
    recorded_cost_usd: Decimal | None = None
    recorded: int = 0
    charges_usd: Decimal | None = None
    charges: int = 0
    charges_unpriced: int = 0
    unpriced: int = 0
    estimated: int = 0
    partial: int = 0
    unsplit: int = 0
    observed: int = 0
    interval: dict[str, Interval] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the ``G`` of the ``cost`` document."""
        names = [name for name in self.__slots__ if name != "interval"]
        document: dict[str, Any] = {name: getattr(self, name) for name in names}
        document["interval"] = self.interval and {name: span.as_dict() for name, span in self.interval.items()}
        return document


@dataclass(slots=True)
class Accounting:
    """The ``cost`` document."""

    by: str
    prices_as_of: str
    price_list: str
    groups: list[Group]
    total: Group
    unpriced_reasons: dict[str, int]
    price_notes: dict[str, int]
    price_findings: list[PriceFinding]
    agreements: list[Settled]
    effective_factors: dict[Coverage, Decimal]
    """Effective cost of a contracted dollar, by the agreements that hold for a call."""

    def as_dict(self) -> dict[str, Any]:
        """Return the document's keys."""
        return {
            "currency": "USD",
            "prices_as_of": self.prices_as_of,
            "price_list": self.price_list,
            "by": self.by,
            "groups": [group.as_dict() for group in self.groups],
            "total": self.total.as_dict(),
            "unpriced_reasons": self.unpriced_reasons,
            "price_notes": self.price_notes,
            "price_findings": [finding.as_dict() for finding in self.price_findings],
            "agreements": [agreement.as_dict() for agreement in self.agreements],
        }


class Tally:
    """Adds calls and charges up into one `Group`."""

    def __init__(self, key: str | None) -> None:
        self._group = Group(key)
        self._runs: dict[str, float] = {}
        self._calls = SampledSum()
        self._cost = SampledSum()
        self._counts: dict[str, int | Decimal] = defaultdict(int)
        self._tokens: dict[str, int | Decimal] = {}
        self._open: dict[str, int | Decimal] = {}
        self.contracted_usd: dict[Coverage, Decimal] = {}

    def add_call(self, row: InferenceRow, priced: Priced) -> None:
        """Add one billable inference."""
        call, placement, group = row.inference, row.placement, self._group
        weight = placement.weight if placement.weight is not None else 1.0
        group.observed += 1
        self._calls.add(call.trace_id, weight, 1)
        if placement.run_id is not None:
            self._runs[placement.run_id] = weight
        factor = 1 if weight == 1 else Decimal(repr(weight))
        for name, tokens in zip(METERS, _TOKENS(call.meters), strict=True):
            if tokens is not None:
                self._tokens[name] = self._tokens.get(name, 0) + tokens * factor
            elif is_open(call, name, priced.card):
                self._open[name] = self._open.get(name, 0) + factor
        if priced.list_cost_usd is None:
            self._counts["unpriced"] += factor
        else:
            self._cost.add(call.trace_id, weight, priced.list_cost_usd)
            listed, contracted = priced.list_cost_usd, priced.contracted_cost_usd or _ZERO
            if factor != 1:
                listed, contracted = listed * factor, contracted * factor
            group.cost_usd = listed if group.cost_usd is None else group.cost_usd + listed
            self.contracted_usd[priced.coverage] = self.contracted_usd.get(priced.coverage, _ZERO) + contracted
            if priced.partial:
                self._counts["partial"] += factor
            if is_unsplit(call, priced.card):
                self._counts["unsplit"] += factor
        if call.recorded_cost_usd is not None:
            self._counts["recorded"] += factor
            group.recorded_cost_usd = (group.recorded_cost_usd or _ZERO) + call.recorded_cost_usd * factor
        if call.usage_source in (UsageSource.COUNTED, UsageSource.ESTIMATED):
            self._counts["estimated"] += factor

    def add_charge(self, placement: Placement, cost_usd: Decimal | None) -> None:
        """Add one charge; None where its price is unknown."""
        weight = placement.weight if placement.weight is not None else 1.0
        factor = 1 if weight == 1 else Decimal(repr(weight))
        self._counts["charges"] += factor
        if cost_usd is None:
            self._counts["charges_unpriced"] += factor
        else:
            self._group.charges_usd = (self._group.charges_usd or _ZERO) + cost_usd * factor

    def include(self, other: Tally) -> None:
        """Add another group's sums; a run that is in both is one run."""
        self._runs |= other._runs
        self._calls.include(other._calls)
        self._cost.include(other._cost)
        _add_up(self._counts, other._counts)
        _add_up(self._tokens, other._tokens)
        _add_up(self._open, other._open)
        _add_up(self.contracted_usd, other.contracted_usd)
        self._group.observed += other._group.observed
        for name in ("cost_usd", "recorded_cost_usd", "charges_usd"):
            known = [amount for one in (self, other) if (amount := getattr(one._group, name)) is not None]
            setattr(self._group, name, sum(known, start=_ZERO) if known else None)

    def close(self, factors: Mapping[Coverage, Decimal]) -> Group:
        """Return the group, given the effective cost of a contracted dollar by coverage."""
        group = self._group
        if self.contracted_usd:
            group.contracted_cost_usd = sum(self.contracted_usd.values(), start=_ZERO)
            group.effective_cost_usd = sum(
                (cost * factors[coverage] for coverage, cost in self.contracted_usd.items()), start=_ZERO
            )
        group.inferences = round(self._calls.total)
        group.runs = round(sum(self._runs.values()))
        group.meters = {name: _whole(self._tokens.get(name)) for name in METERS}
        group.meters_open = {name: round(self._open.get(name, 0)) for name in METERS}
        for name in ("unpriced", "estimated", "partial", "unsplit", "recorded", "charges", "charges_unpriced"):
            setattr(group, name, round(self._counts[name]))
        if not group.observed:
            # the sum over nothing is known
            group.meters = dict.fromkeys(METERS, 0)
            group.cost_usd = group.contracted_cost_usd = group.effective_cost_usd = _ZERO
        for name in _MONEY:
            setattr(group, name, _tidy(getattr(group, name)))
        if not self._counts["charges"]:
            group.charges_usd = _ZERO
        if self._calls.is_sampled:
            group.interval = {"inferences": self._calls.interval(), "cost_usd": self._cost.interval()}
        return group


def account(
    store: Store, selection: Selection | None = None, by: str = "model", prices: PriceList | None = None
) -> Accounting:
    """Account for the selected calls.

    Args:
        store: where the records are.
        selection: window and equalities; everything where None.
        by: model, provider, agent, tool, run, session, user, purpose, service, day or attribute:KEY.
        prices: the price list; the published one and the user's own where None.

    Raises:
        UnknownNameError: ``by`` is none of these.
        StoreError: the store cannot be read.
    """
    from inferometer.profiles.prices import load_prices

    selection = selection or Selection()
    prices = prices or load_prices()
    keys = grouping(by, store, selection)
    charges = list(store.placed_charges(selection))
    tools = store.tool_calls(selection) if prices.has_tools else ()
    calls = ((row, prices.price(row)) for row in store.inferences(selection))
    return account_calls(calls, charges, tools, keys, prices, selection)


def account_calls(
    calls: Iterable[tuple[InferenceRow, Priced]],
    charges: Collection[tuple[Charge, Placement]],
    tools: Iterable[ToolCallRow],
    keys: Grouping,
    prices: PriceList,
    selection: Selection,
) -> Accounting:
    """Account for priced calls, charges and tool calls that are at hand; see `account`."""
    tallies: dict[str | None, Tally] = {}
    witness, window = PriceWitness(), _Window(selection)
    reasons: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    charged: dict[tuple[bytes, bytes], InferenceRow | None] = {
        (charge.trace_id, charge.span_id): None for charge, _ in charges
    }
    for row, priced in calls:
        _tally(tallies, keys.of_call(row)).add_call(row, priced)
        witness.see(row, priced)
        window.see(row.placement)
        if priced.notes:
            notes.update(priced.notes)
        if priced.reason:
            reasons[priced.reason] += 1
        if (span := (row.inference.trace_id, row.inference.span_id)) in charged:
            charged[span] = row
    for charge, placement in charges:
        on = charged[charge.trace_id, charge.span_id]
        cost_usd = prices.price_charge(charge, placement, on)
        _tally(tallies, keys.of_charge(charge, placement, on)).add_charge(placement, cost_usd)
    for charge, placement, cost_usd in tool_fees(tools, prices, charged):
        _tally(tallies, keys.of_charge(charge, placement, None)).add_charge(placement, cost_usd)
    total = Tally("total")
    for tally in tallies.values():
        total.include(tally)
    factors, agreements = prices.settle(total.contracted_usd, window.bounds)
    groups = [tally.close(factors) for tally in tallies.values()]
    groups.sort(key=lambda group: (-(group.cost_usd or _ZERO), -group.inferences, group.key is None, group.key or ""))
    return Accounting(
        by=keys.name,
        prices_as_of=prices.as_of.isoformat(),
        price_list=prices.version,
        groups=groups,
        total=total.close(factors),
        unpriced_reasons=dict(reasons.most_common()),
        price_notes=dict(notes.most_common()),
        price_findings=witness.findings(),
        agreements=agreements,
        effective_factors=factors,
    )


def _tally(tallies: dict[str | None, Tally], key: str | None) -> Tally:
    found = tallies.get(key)
    if found is None:
        found = tallies[key] = Tally(key)
    return found


class _Window:
    """The time that is accounted for: what was selected, else from the first call's day to the end of the last's."""

    def __init__(self, selection: Selection) -> None:
        self._since, self._until = selection.since_ns, selection.until_ns
        self._first: int | None = None
        self._last: int | None = None

    def see(self, placement: Placement) -> None:
        start_ns = placement.start_ns
        if is_date(start_ns):
            self._first = start_ns if self._first is None else min(self._first, start_ns)
            self._last = start_ns if self._last is None else max(self._last, start_ns)

    @property
    def bounds(self) -> tuple[int, int] | None:
        if self._first is None or self._last is None:
            return None
        first = self._first - self._first % _DAY_NS if self._since is None else self._since
        last = self._last - self._last % _DAY_NS + _DAY_NS if self._until is None else self._until
        return first, last


def _add_up(mine: dict[Any, Any], theirs: Mapping[Any, Any]) -> None:
    for name, value in theirs.items():
        mine[name] = mine[name] + value if name in mine else value


def _tidy(amount_usd: Decimal | None) -> Decimal | None:
    """Return money without trailing zeros, and without the noise of the binary fractions that sources write."""
    if amount_usd is None:
        return None
    return amount_usd.quantize(_PICODOLLAR).normalize() + _ZERO


def _whole(tokens: int | Decimal | None) -> int | None:
    return None if tokens is None else round(tokens)
