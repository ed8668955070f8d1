"""The bill bridge: six factors and charges that sum to the change in spend, to the last digit."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from inferometer.analyzer.audit_groups import accounted, by_model
from inferometer.analyzer.bridge import FACTORS, Spend, bridge, halves, rounded, spend_of, steps
from inferometer.schema.rows import ToolCallRow
from inferometer.testing.workload import EPOCH_NS, LARGE, FlatPrices, Workload

MODELS = ("large", "small", "other")
METERS = ("input_fresh", "cache_read", "output")


@st.composite
def spends(draw: st.DrawFn) -> Spend:
    cells = draw(st.lists(st.tuples(st.sampled_from(MODELS), st.sampled_from(METERS)), unique=True, max_size=7))
    tokens = {cell: Fraction(draw(st.integers(1, 10**7))) for cell in cells}
    cost = {cell: Fraction(draw(st.decimals(0, 1000, places=6))) for cell in cells}
    runs = Fraction(draw(st.integers(1, 500))) if cells else Fraction(0)
    return Spend(runs, runs * draw(st.integers(1, 9)), tokens, cost, Fraction(draw(st.decimals(0, 50, places=4))))


@given(spends(), spends(), st.sampled_from([2, 6]))
@settings(max_examples=80, deadline=None)
def test_start_plus_steps_is_end_exactly_on_any_two_windows(before: Spend, after: Spend, places: int) -> None:
    rows = bridge(before, after, places)
    amounts = [row["amount_usd"] for row in rows]
    assert sum(amounts[:-1]) == amounts[-1]
    assert amounts[0] == round(Decimal(before.total_usd.numerator) / before.total_usd.denominator, places)
    assert all(amount == amount.quantize(Decimal(1).scaleb(-places)) for amount in amounts)


@given(spends(), spends())
@settings(max_examples=40, deadline=None)
def test_exact_steps_sum_to_the_change(before: Spend, after: Spend) -> None:
    assert sum(steps(before, after).values()) == after.total_usd - before.total_usd


def window(runs: int, calls: int, tokens: int, price: str) -> Spend:
    total = Fraction(runs * calls * tokens)
    cell = ("large", "input_fresh")
    return Spend(Fraction(runs), Fraction(runs * calls), {cell: total}, {cell: total * Fraction(Decimal(price))})


def test_each_factor_alone_explains_all_of_its_change() -> None:
    base = window(10, 2, 100, "0.01")
    for factor, changed in {
        "runs": window(20, 2, 100, "0.01"),
        "calls_per_run": window(10, 5, 100, "0.01"),
        "tokens_per_call": window(10, 2, 300, "0.01"),
        "price": window(10, 2, 100, "0.005"),
    }.items():
        found = steps(base, changed)
        assert found[factor] == changed.total_usd - base.total_usd
        assert all(found[other] == 0 for other in FACTORS if other != factor)


def test_falling_prices_and_a_rising_bill_are_told_apart() -> None:
    found = steps(window(10, 2, 100, "0.01"), window(10, 10, 200, "0.005"))
    assert found["price"] < 0 < found["calls_per_run"]


def test_a_new_model_is_a_change_of_mix_and_not_of_price() -> None:
    old, new = ("large", "input_fresh"), ("small", "input_fresh")
    before = Spend(Fraction(1), Fraction(1), {old: Fraction(100)}, {old: Fraction(100)})
    after = Spend(Fraction(1), Fraction(1), {new: Fraction(100)}, {new: Fraction(10)})
    found = steps(before, after)
    assert found["model_mix"] == -90
    assert found["price"] == 0


def test_rounding_keeps_the_sum() -> None:
    parts, total = rounded([Fraction(1, 3)] * 3, Fraction(1), 2)
    assert sum(parts) == total == 1


def test_spend_is_read_from_priced_calls_and_charges_alone() -> None:
    work = Workload()
    run = work.run(weight=2.0)
    work.call(run, input_fresh=1_000_000, output=0)
    work.call(run, model="nobody", input_fresh=1_000_000, output=5)
    found = spend_of(work.dataset())
    assert (found.runs, found.calls, found.total_usd) == (2, 2, 20)


def test_halves_need_priced_calls_on_both_sides() -> None:
    work = Workload()
    work.call(work.run(0), input_fresh=1, output=1)
    assert halves(work.dataset()) is None
    work.call(work.run(1000), 1000, input_fresh=1, output=1)
    parts = halves(work.dataset())
    assert parts is not None
    assert [len(part.calls) for part in parts] == [1, 1]


def test_offsets_from_a_recordings_start_are_no_halves_of_a_window() -> None:
    work = Workload()
    for start_s in (0, 1000):
        run = work.run(start_s)
        work.call(run, start_s, input_fresh=1, output=1)
    for run in work.runs:
        run.start_ns -= EPOCH_NS
    assert halves(work.dataset()) is None


class ToolPrices(FlatPrices):
    """Flat prices of tokens, and half a dollar for each search."""

    @property
    def has_tools(self) -> bool:
        return True

    def price_tool(self, row: ToolCallRow) -> Decimal | None:
        return Decimal("0.5") if row.tool_call.name == "search" else None


def test_tools_with_a_price_are_spend_too_so_that_the_bridge_ends_where_the_bill_does() -> None:
    work = Workload(ToolPrices({"large": LARGE}))
    for number in range(4):
        run = work.run(number * 1000)
        work.call(run, number * 1000, input_fresh=100_000, output=0)
        for turn in range(number):
            work.tool(run, number * 1000 + 10 + turn, name="search")
    dataset = work.dataset()
    totals = accounted(dataset, "model", by_model).total
    assert totals.charges_usd == 3
    assert spend_of(dataset).total_usd == (totals.cost_usd or 0) + 3 == 7
    parts = halves(dataset)
    assert parts is not None
    steps = {row["step"]: row["amount_usd"] for row in bridge(*map(spend_of, parts))}
    assert (steps["start"], steps["charges"], steps["end"]) == (Decimal("2.5"), 2, Decimal("4.5"))
