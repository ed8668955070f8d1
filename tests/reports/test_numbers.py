"""Numbers for reading."""

from __future__ import annotations

from decimal import Decimal

import pytest

from inferometer.reports import numbers


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (None, "unknown"),
        (0, "$0"),
        (Decimal("12345.6"), "$12,346"),
        (Decimal("-12.346"), "−$12.35"),
        ("0.3456", "$0.346"),
        (0.00042, "$0.00042"),
        (0.00000042, "under $0.0001"),
    ],
)
def test_dollars_keep_the_digits_that_matter(amount: object, text: str) -> None:
    assert numbers.usd(amount) == text  # type: ignore[arg-type]


def spaced(texts: list[str]) -> list[str]:
    return [text.replace(numbers.GAP, " ") for text in texts]


def test_tokens_shares_and_times_are_short() -> None:
    assert spaced([numbers.tokens(value) for value in (None, 0, 999, 1500, 2_000_000, 3.2e11)]) == [
        *("unknown", "0", "999", "1.5 k", "2.0 M", "320 B")
    ]
    assert spaced([numbers.share(value) for value in (None, 0, 0.0004, 0.051, 0.5)]) == [
        *("unknown", "0 %", "under 0.1 %", "5.1 %", "50 %")
    ]
    assert spaced([numbers.seconds(value) for value in (None, 0.0005, 0.25, 3, 600, 9000, 400_000, 3e7)]) == [
        *("unknown", "0.5 ms", "250 ms", "3.0 s", "10 min", "2.5 h", "4.6 days", "347 days")
    ]
    assert [numbers.times(value) for value in (None, 0, 1.5, 12, 120, 0.0055, 0.00002)] == [
        *("unknown", "0.00×", "1.50×", "12.0×", "120×", "0.0055×", "under 0.001×")
    ]
    assert [numbers.count(value) for value in (None, 3, 2.5, 12345)] == ["unknown", "3", "2.5", "12,345"]


def test_no_line_ends_between_a_number_and_its_unit() -> None:
    shown = [numbers.tokens(1500), numbers.share(0.5), numbers.seconds(3), numbers.days(20), numbers.bounded(1, 2)]
    assert not any(" " in text for text in shown)


def test_a_sum_that_leaves_calls_out_is_a_lower_bound() -> None:
    assert spaced([numbers.bounded(*pair) for pair in (("2.5", 0), ("2.5", 3), (0, 3), (None, 3), (None, 0))]) == [
        *("$2.50", "≥ $2.50", "≥ $0", "not priced", "unknown")
    ]


def test_bars_stay_within_their_place() -> None:
    assert [numbers.percent_width(value) for value in (None, -1, 0.5, 7)] == ["0.00", "0.00", "50.00", "100.00"]
