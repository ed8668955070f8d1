"""A day's sums, kept minute by minute, so that another look at the day reads the minutes that changed and no others.

A minute has changed where it holds another number of spans than when it was read. What changes in place without a span
that is new (a call that a later one is merged into, a weight) is met in turn: at each look the minute whose reading is
the oldest is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from inferometer.analyzer.accounting import Group, Tally
from inferometer.analyzer.grouping import Key, grouping
from inferometer.analyzer.tool_fees import tool_fees
from inferometer.profiles.prices import PriceList
from inferometer.schema.selection import Selection
from inferometer.store import Store

MINUTE_NS = 60 * 1_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS
_ZERO = Decimal(0)


@dataclass(slots=True)
class Sums:
    """The groups of one grouping, dearest first, and their total."""

    groups: list[Group]
    total: Group


@dataclass(slots=True)
class MinuteSums:
    """What began within one minute: tallies by grouping and key, tokens, and US dollars by list price."""

    spans: int
    look: int
    tallies: dict[str, dict[Key, Tally]]
    tokens: int = 0
    cost_usd: Decimal = _ZERO

    def tally(self, by: str, key: Key) -> Tally:
        """Return the tally of a key, a new one where there is none."""
        found = self.tallies[by].get(key)
        if found is None:
            found = self.tallies[by][key] = Tally(key)
        return found


class DayBook:
    """The sums of one day's calls and charges.

    Args:
        store: read, never written.
        prices: the price list.
        by: groupings whose sums are kept.
        where: what calls must meet, as in `Selection`.
    """

    def __init__(
        self, store: Store, prices: PriceList, by: Sequence[str], where: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._store = store
        self._prices = prices
        self._where = where
        self._keys = [grouping(name, store, Selection()) for name in by]
        self._since_ns: int | None = None
        self._looks = 0
        self._read: list[int] = []
        self.minutes: dict[int, MinuteSums] = {}

    def look(self, since_ns: int, numbers: Mapping[int, int]) -> int:
        """Bring the sums of a day up to date; returns how many minutes had to be read.

        Args:
            since_ns: when the day begins.
            numbers: of the spans that the store holds of each of its minutes, from `Store.count_spans`.

        Raises:
            StoreError: the store cannot be read; what was known stays.
        """
        if since_ns != self._since_ns:
            self.minutes, self._since_ns = {}, since_ns
        self._looks += 1
        changed = {minute for minute, spans in numbers.items() if not self._is_known(minute, spans)}
        gone = self.minutes.keys() - numbers.keys()
        oldest = min(self.minutes.keys() - gone, key=lambda minute: (self.minutes[minute].look, minute), default=None)
        wanted = sorted(changed if oldest is None else changed | {oldest})
        for first, last in _stretches(wanted):
            fresh = {
                minute: MinuteSums(numbers[minute], self._looks, {keys.name: {} for keys in self._keys})
                for minute in range(first, last + 1)
            }
            self._read_stretch(fresh, Selection(first * MINUTE_NS, (last + 1) * MINUTE_NS, self._where))
            self.minutes.update(fresh)
        for minute in gone:
            del self.minutes[minute]
        return len(wanted)

    def sums(self, by: str) -> Sums:
        """Return the sums of one of the groupings over the whole day."""
        tallies: dict[Key, Tally] = {}
        for minute in self.minutes.values():
            for key, part in minute.tallies[by].items():
                if key not in tallies:
                    tallies[key] = Tally(key)
                tallies[key].include(part)
        total = Tally("total")
        for tally in tallies.values():
            total.include(tally)
        since_ns = self._since_ns or 0
        factors, _ = self._prices.settle(total.contracted_usd, (since_ns, since_ns + DAY_NS))
        groups = [tally.close(factors) for tally in tallies.values()]
        groups.sort(
            key=lambda group: (-(group.cost_usd or _ZERO), -group.inferences, group.key is None, group.key or "")
        )
        return Sums(groups, total.close(factors))

    def _is_known(self, minute: int, spans: int) -> bool:
        known = self.minutes.get(minute)
        return known is not None and known.spans == spans

    def _read_stretch(self, fresh: dict[int, MinuteSums], selection: Selection) -> None:
        charges = list(self._store.placed_charges(selection))
        charged = {(charge.trace_id, charge.span_id) for charge, _ in charges}
        on = {}
        # one call at a time: a busy minute must not be held as a whole
        for row in self._store.inferences(selection):
            priced = self._prices.price(row)
            sums = fresh[(row.placement.start_ns or 0) // MINUTE_NS]
            for keys in self._keys:
                sums.tally(keys.name, keys.of_call(row)).add_call(row, priced)
            sums.tokens += row.inference.meters.total or 0
            sums.cost_usd += priced.list_cost_usd or _ZERO
            if (key := (row.inference.trace_id, row.inference.span_id)) in charged:
                on[key] = row
        for charge, placement in charges:
            call = on.get((charge.trace_id, charge.span_id))
            cost_usd = self._prices.price_charge(charge, placement, call)
            sums = fresh[(placement.start_ns or 0) // MINUTE_NS]
            for keys in self._keys:
                sums.tally(keys.name, keys.of_charge(charge, placement, call)).add_charge(placement, cost_usd)
        if self._prices.has_tools:
            self._add_tools(fresh, selection, charged)

    def _add_tools(self, fresh: dict[int, MinuteSums], selection: Selection, charged: set[tuple[bytes, bytes]]) -> None:
        for charge, placement, cost_usd in tool_fees(self._store.tool_calls(selection), self._prices, charged):
            sums = fresh[(placement.start_ns or 0) // MINUTE_NS]
            for keys in self._keys:
                sums.tally(keys.name, keys.of_charge(charge, placement, None)).add_charge(placement, cost_usd)


def _stretches(minutes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of each run of numbers that follow each other; they come in order."""
    first = last = None
    for minute in minutes:
        if last is None or minute != last + 1:
            if first is not None and last is not None:
                yield first, last
            first = minute
        last = minute
    if first is not None and last is not None:
        yield first, last
