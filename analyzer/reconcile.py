"""The bill beside the traces, by day and model: what matches, what was never traced, what was traced too often.

Tokens are compared where both sides state them. What both hold is *matched*; more on the bill is *untraced*; more in
the traces is *over-traced* (a second emitter, or calls that another account paid for). For what matches, the difference
between the billed dollars and the list's is a *price difference*. Where the bill has no tokens, dollars are compared
instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from inferometer.analyzer.costed_call import ZERO, CostedCall
from inferometer.analyzer.fanout import day_of
from inferometer.analyzer.reconcile_bill import Bill, BillLine, signature
from inferometer.schema.meters import DISJOINT_METERS

Cell = tuple[str, str]
UNKNOWN_DAY = "unknown"
OTHER = "not a model"


@dataclass(slots=True)
class Side:
    """What one side, bill or traces, says about one day and model."""

    meters: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    cost_usd: Decimal | None = None
    has_tokens: bool = False

    @property
    def tokens(self) -> float | None:
        """All tokens; None where the side states none."""
        return sum(self.meters.values()) if self.has_tokens else None

    def add(self, meters: dict[str, float], cost_usd: Decimal | None) -> None:
        """Add one line or call."""
        for name, value in meters.items():
            self.meters[name] += value
            self.has_tokens = True
        if cost_usd is not None:
            self.cost_usd = (self.cost_usd or ZERO) + cost_usd


@dataclass(slots=True)
class Compared:
    """One day and model, both sides compared; dollars that cannot be told are None."""

    day: str
    model: str
    billed: Side
    traced: Side
    matched_usd: Decimal | None
    untraced_usd: Decimal | None
    over_traced_usd: Decimal | None
    price_difference_usd: Decimal | None
    basis: str

    def as_dict(self) -> dict[str, Any]:
        """Return the row as the document has it."""
        return {
            "day": self.day,
            "model": self.model,
            "basis": self.basis,
            "billed_tokens": _tokens(self.billed),
            "traced_tokens": _tokens(self.traced),
            "billed_usd": self.billed.cost_usd,
            "traced_usd": self.traced.cost_usd,
            "matched_usd": self.matched_usd,
            "untraced_usd": self.untraced_usd,
            "over_traced_usd": self.over_traced_usd,
            "price_difference_usd": self.price_difference_usd,
        }


def _tokens(side: Side) -> dict[str, int] | None:
    if not side.has_tokens:
        return None
    return {name: round(side.meters[name]) for name in DISJOINT_METERS if name in side.meters}


def reconcile(calls: Sequence[CostedCall], bills: Sequence[Bill]) -> dict[str, Any]:
    """Return the ``reconcile`` document, which is also the audit's ``reconciliation``.

    Args:
        calls: priced calls of the traces.
        bills: bills and usage exports; several of one provider (tokens in one, dollars in another) complete each other.
    """
    names = _names(calls, bills)
    traced = _traced(calls, names)
    billed = _billed(bills, names)
    dated = {day for day, _ in billed if day != UNKNOWN_DAY}
    if dated:
        # traces of days that no bill covers say nothing about it
        days = {day for day, _ in billed}
        traced = {cell: side for cell, side in traced.items() if min(dated) <= cell[0] <= max(dated) or cell[0] in days}
    else:
        traced = _whole(traced)
    rows = [
        _compare(day, model, billed.get((day, model)) or Side(), traced.get((day, model)) or Side())
        for day, model in sorted(billed.keys() | traced.keys())
    ]
    return _document(rows, bills)


def _whole(sides: dict[Cell, Side]) -> dict[Cell, Side]:
    """Return the sides with their days put together, to set beside a bill that names none."""
    result: dict[Cell, Side] = defaultdict(Side)
    for (_, model), side in sides.items():
        result[UNKNOWN_DAY, model].add(dict(side.meters), side.cost_usd)
    return dict(result)


def _names(calls: Iterable[CostedCall], bills: Iterable[Bill]) -> dict[frozenset[str], str]:
    """Return the shown name of each model by its signature: the traces' own, else the bill's."""
    names: dict[frozenset[str], str] = {}
    for model in sorted({call.model for call in calls}, key=lambda model: (len(model), model)):
        names.setdefault(signature(model), model)
    for bill in bills:
        for line in bill.lines:
            if line.model and signature(line.model):
                names.setdefault(signature(line.model), line.model)
    return names


def _traced(calls: Iterable[CostedCall], names: dict[frozenset[str], str]) -> dict[Cell, Side]:
    sides: dict[Cell, Side] = defaultdict(Side)
    for call in calls:
        day = day_of(call.start_ns) if call.is_dated else UNKNOWN_DAY
        meters = {
            name: value * call.weight
            for name in DISJOINT_METERS
            if (value := getattr(call.inference.meters, name)) is not None
        }
        cost = None if call.cost_usd is None else call.weighted_cost_usd
        sides[day, names.get(signature(call.model), call.model)].add(meters, cost)
    return dict(sides)


def _billed(bills: Iterable[Bill], names: dict[frozenset[str], str]) -> dict[Cell, Side]:
    sides: dict[Cell, Side] = defaultdict(Side)
    for bill in bills:
        for line in bill.lines:
            if _is_other(line):
                continue
            model = names.get(signature(line.model), OTHER) if line.model else OTHER
            meters = {name: float(value) for name, value in line.meters.items()}
            sides[_day_text(line.day), model].add(meters, line.cost_usd)
    return dict(sides)


def _is_other(line: BillLine) -> bool:
    """Whether a line is a tax, a credit, a refund or a fee: no call causes it, so it is in no share."""
    return not line.is_usage or (line.cost_usd is not None and line.cost_usd < 0)


def _day_text(day: date | None) -> str:
    return UNKNOWN_DAY if day is None else day.isoformat()


def _compare(day: str, model: str, billed: Side, traced: Side) -> Compared:
    there, here = billed.tokens, traced.tokens
    if there is not None and here is not None and there > 0 and here > 0:
        return _by_tokens(day, model, billed, traced, there, here)
    if billed.cost_usd is not None:
        listed = traced.cost_usd or ZERO
        both = min(billed.cost_usd, listed)
        rest, over = billed.cost_usd - both, listed - both
        return Compared(day, model, billed, traced, both, max(ZERO, rest), max(ZERO, over), None, "dollars")
    if there:
        return Compared(day, model, billed, traced, None, None, None, None, "tokens untraced")
    return Compared(day, model, billed, traced, ZERO, ZERO, traced.cost_usd, None, "not on the bill")


def _by_tokens(day: str, model: str, billed: Side, traced: Side, there: float, here: float) -> Compared:
    # a part in a million is a rounding of the export
    both = min(there, here)
    covered = Decimal(repr(both / there))
    kept = Decimal(repr(both / here))
    listed = None if traced.cost_usd is None else traced.cost_usd * kept
    over = None if traced.cost_usd is None or listed is None else traced.cost_usd - listed
    if billed.cost_usd is None:
        # a usage export without dollars: the list's price stands in for what was not traced
        rest = None if listed is None else listed / covered - listed
        return Compared(day, model, billed, traced, listed, rest, over, None, "tokens")
    matched = billed.cost_usd * covered
    difference = None if listed is None else matched - listed
    rest = billed.cost_usd - matched
    return Compared(day, model, billed, traced, matched, rest, over, difference, "tokens and dollars")


def _document(rows: Sequence[Compared], bills: Sequence[Bill]) -> dict[str, Any]:
    has_dollars = any(row.billed.cost_usd is not None for row in rows)
    other = [line.cost_usd for bill in bills for line in bill.lines if _is_other(line)]
    billed = _sum(row.billed.cost_usd for row in rows) if has_dollars else None
    matched, untraced = _sum(row.matched_usd for row in rows), _sum(row.untraced_usd for row in rows)
    whole = (matched or ZERO) + (untraced or ZERO)
    return {
        "reconciled": True,
        "traced_share": float((matched or ZERO) / whole) if whole else None,
        "billed_usd": billed if has_dollars else (whole or None),
        "billed_at_list_price": not has_dollars,
        "traced_usd": matched,
        "untraced_usd": untraced,
        "over_traced_usd": _sum(row.over_traced_usd for row in rows),
        "price_difference_usd": _sum(row.price_difference_usd for row in rows),
        "other_usd": _sum(other),
        "files": [
            {"path": bill.path, "kind": bill.kind, "lines": len(bill.lines), "left_out": bill.left_out}
            for bill in bills
        ],
        "models": _by_model(rows),
        "days": [row.as_dict() for row in rows],
        "note": None if has_dollars else "the files state tokens and no dollars: amounts are at list price",
    }


def _by_model(rows: Sequence[Compared]) -> list[dict[str, Any]]:
    models: dict[str, list[Compared]] = defaultdict(list)
    for row in rows:
        models[row.model].append(row)
    found = [
        {
            "model": model,
            "billed_usd": _sum(row.billed.cost_usd for row in members),
            "traced_usd": _sum(row.traced.cost_usd for row in members),
            "matched_usd": _sum(row.matched_usd for row in members),
            "untraced_usd": _sum(row.untraced_usd for row in members),
            "over_traced_usd": _sum(row.over_traced_usd for row in members),
            "price_difference_usd": _sum(row.price_difference_usd for row in members),
            "days": len({row.day for row in members}),
        }
        for model, members in models.items()
    ]
    return sorted(found, key=lambda row: (-(row["billed_usd"] or row["traced_usd"] or ZERO), row["model"]))


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, ZERO) if known else None
