"""The bill bridge: why spend changed between two windows, in steps that sum exactly to the change.

Spend is the product of six factors: ``runs x calls per run x tokens per call x share of each model x share of each
meter in the model x price of each meter``. Each factor's step is its Shapley value, the mean over all orders in which
the factors could have moved from the first window's value to the second's, so that no order is favoured and nothing is
left over. Source: Shapley, "A value for n-person games", 1953.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import combinations
from math import factorial
from typing import Any

from inferometer.analyzer.audit_dataset import Dataset
from inferometer.analyzer.costed_call import CostedCall
from inferometer.schema.meters import DISJOINT_METERS
from inferometer.schema.moments import EARLIEST_DATE_NS, is_date

FACTORS = ("runs", "calls_per_run", "tokens_per_call", "model_mix", "meter_mix", "price")

TITLES = {
    "start": "Spend before",
    "runs": "More or fewer runs",
    "calls_per_run": "Calls per run",
    "tokens_per_call": "Tokens per call",
    "model_mix": "Choice of model",
    "meter_mix": "Kind of token (cache, output)",
    "price": "Price per token",
    "charges": "Charges other than tokens",
    "end": "Spend after",
}

Cell = tuple[str, str]

_ZERO = Decimal(0)


@dataclass(slots=True)
class Spend:
    """One window, taken apart.

    Attributes:
        runs: number of runs, weighted.
        calls: number of priced calls, weighted.
        tokens: tokens by (model, meter).
        cost_usd: cost of those tokens by (model, meter).
        other_usd: cost that is not of tokens.
    """

    runs: Fraction = Fraction(0)
    calls: Fraction = Fraction(0)
    tokens: dict[Cell, Fraction] = field(default_factory=dict)
    cost_usd: dict[Cell, Fraction] = field(default_factory=dict)
    other_usd: Fraction = Fraction(0)

    @property
    def total_usd(self) -> Fraction:
        """All of the window's cost."""
        return sum(self.cost_usd.values(), Fraction(0)) + self.other_usd


def spend_of(dataset: Dataset) -> Spend:
    """Take a dataset's spend apart; unpriced calls are left out of tokens, calls and cost alike."""
    # calls of one weight are added up as int and Decimal, which is exact here and much faster than Fraction
    tokens: dict[tuple[float, Cell], int] = defaultdict(int)
    cost: dict[tuple[float, Cell], Decimal] = defaultdict(Decimal)
    other: dict[float, Decimal] = defaultdict(Decimal)
    calls: dict[float, int] = defaultdict(int)
    runs: dict[str, float] = {}
    for call in dataset.calls:
        if call.cost_usd is None:
            continue
        weight, model, meters, prices = call.weight, call.model, call.meters, call.cost_by_meter_usd
        runs[call.placement.run_id or call.key[1].hex()] = weight
        calls[weight] += 1
        rest = call.cost_usd
        for meter in DISJOINT_METERS:
            count = getattr(meters, meter)
            if count:
                price = prices.get(meter, _ZERO)
                rest -= price
                tokens[weight, (model, meter)] += count
                cost[weight, (model, meter)] += price
        other[weight] += rest
    for charge in dataset.fees:
        if charge.cost_usd is not None:
            other[charge.placement.weight or 1.0] += charge.cost_usd
    spend = Spend(
        runs=sum(map(Fraction, runs.values()), Fraction(0)),
        calls=_weighted(calls.items()),
        other_usd=_weighted(other.items()),
    )
    for cell in dict.fromkeys(cell for _, cell in tokens):
        spend.tokens[cell] = _weighted((weight, count) for (weight, one), count in tokens.items() if one == cell)
        spend.cost_usd[cell] = _weighted((weight, usd) for (weight, one), usd in cost.items() if one == cell)
    return spend


def _weighted(sums: Iterable[tuple[float, int | Decimal]]) -> Fraction:
    return sum((Fraction(amount) * Fraction(weight) for weight, amount in sums), Fraction(0))


@dataclass(slots=True)
class _Factors:
    runs: Fraction
    calls_per_run: Fraction
    tokens_per_call: Fraction
    model_mix: Mapping[str, Fraction]
    meter_mix: Mapping[Cell, Fraction]
    price: Mapping[Cell, Fraction]


def _factors(spend: Spend, other: Spend) -> _Factors:
    """Return a window's factors; one that it does not define (no run, a model unused) is taken from the other window.

    So the arrival of a model is a change of mix, at that model's own price, and never a change of price.
    """
    return _Factors(
        runs=spend.runs,
        calls_per_run=_ratio(spend.calls, spend.runs) or _ratio(other.calls, other.runs),
        tokens_per_call=_ratio(_total(spend), spend.calls) or _ratio(_total(other), other.calls),
        model_mix=_model_mix(spend) or _model_mix(other),
        meter_mix={**_meter_mix(other), **_meter_mix(spend)},
        price={**_price(other), **_price(spend)},
    )


def _ratio(above: Fraction, below: Fraction) -> Fraction:
    return above / below if below else Fraction(0)


def _total(spend: Spend) -> Fraction:
    return sum(spend.tokens.values(), Fraction(0))


def _by_model(spend: Spend) -> dict[str, Fraction]:
    sums: dict[str, Fraction] = defaultdict(Fraction)
    for (model, _), count in spend.tokens.items():
        sums[model] += count
    return sums


def _model_mix(spend: Spend) -> dict[str, Fraction]:
    total = _total(spend)
    return {model: count / total for model, count in _by_model(spend).items()} if total else {}


def _meter_mix(spend: Spend) -> dict[Cell, Fraction]:
    models = _by_model(spend)
    return {
        (model, meter): spend.tokens.get((model, meter), Fraction(0)) / total
        for model, total in models.items()
        if total
        for meter in DISJOINT_METERS
    }


def _price(spend: Spend) -> dict[Cell, Fraction]:
    return {cell: spend.cost_usd.get(cell, Fraction(0)) / count for cell, count in spend.tokens.items() if count}


def _value(factors: _Factors) -> Fraction:
    per_token = sum(
        (
            factors.model_mix.get(model, Fraction(0)) * share * factors.price.get((model, meter), Fraction(0))
            for (model, meter), share in factors.meter_mix.items()
        ),
        Fraction(0),
    )
    return factors.runs * factors.calls_per_run * factors.tokens_per_call * per_token


def steps(before: Spend, after: Spend) -> dict[str, Fraction]:
    """Return each factor's exact share of the change in spend, and that of charges; they sum to the change."""
    first, second = _factors(before, after), _factors(after, before)
    values: dict[frozenset[str], Fraction] = {}
    for size in range(len(FACTORS) + 1):
        for moved in combinations(FACTORS, size):
            mixed = {name: getattr(second if name in moved else first, name) for name in FACTORS}
            values[frozenset(moved)] = _value(_Factors(**mixed))
    result = {name: _shapley(name, values) for name in FACTORS}
    result["charges"] = after.other_usd - before.other_usd
    return result


def _shapley(name: str, values: Mapping[frozenset[str], Fraction]) -> Fraction:
    count = len(FACTORS)
    others = [factor for factor in FACTORS if factor != name]
    total = Fraction(0)
    for size in range(count):
        weight = Fraction(factorial(size) * factorial(count - size - 1), factorial(count))
        for moved in combinations(others, size):
            total += weight * (values[frozenset((*moved, name))] - values[frozenset(moved)])
    return total


def rounded(parts: Sequence[Fraction], total: Fraction, places: int) -> tuple[list[Decimal], Decimal]:
    """Round parts so that they still sum to their rounded total: the largest remainders take what is left over."""
    scale = 10**places
    goal = round(total * scale)
    floors = [(part * scale).__floor__() for part in parts]
    order = sorted(range(len(parts)), key=lambda index: floors[index] - parts[index] * scale)
    left = goal - sum(floors)
    for turn in range(abs(left)):
        floors[order[turn % len(order)]] += 1 if left > 0 else -1
    return [Decimal(value).scaleb(-places) for value in floors], Decimal(goal).scaleb(-places)


def bridge(before: Spend, after: Spend, places: int = 6) -> list[dict[str, Any]]:
    """Return the ``bridge`` part of the audit document: start, the steps, end; start plus steps equals end exactly."""
    exact = steps(before, after)
    start = Decimal(round(before.total_usd * 10**places)).scaleb(-places)
    end = Decimal(round(after.total_usd * 10**places)).scaleb(-places)
    amounts, _ = rounded(list(exact.values()), Fraction(end) - Fraction(start), places)
    rows: list[dict[str, Any]] = [_row("start", start)]
    rows += [_row(name, amount) for name, amount in zip(exact, amounts, strict=True)]
    return [*rows, _row("end", end)]


def _row(step: str, amount: Decimal) -> dict[str, Any]:
    return {"step": step, "title": TITLES[step], "amount_usd": amount}


def middle_ns(dataset: Dataset) -> int | None:
    """Return the middle between the first and the last start of dated runs, to the microsecond; None below two runs."""
    starts = [run.start_ns for run in dataset.runs if run.start_ns is not None and is_date(run.start_ns)]
    if len(starts) < 2:
        return None
    return -(-(min(starts) + max(starts)) // 2_000) * 1_000


def halves(dataset: Dataset) -> tuple[Dataset, Dataset] | None:
    """Return the first and second half of a dataset's time, by the start of dated runs; None where a half is empty."""
    middle = middle_ns(dataset)
    if middle is None:
        return None
    parts = dataset.between(EARLIEST_DATE_NS, middle), dataset.between(middle, None)
    return parts if all(_priced(part.calls) for part in parts) else None


def _priced(calls: Iterable[CostedCall]) -> bool:
    return any(call.cost_usd is not None for call in calls)
