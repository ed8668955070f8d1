"""Numbers for reading: dollars, tokens, shares and times as short texts; an unknown is the word itself."""

from __future__ import annotations

from decimal import Decimal

UNKNOWN = "unknown"
NOT_PRICED = "not priced"
GAP = "\N{NO-BREAK SPACE}"
"""Between a number and its unit, so that no line ends between them."""

Number = int | float | Decimal


def usd(amount: Number | str | None) -> str:
    """Return dollars: whole above a thousand, cents above one, and two significant digits below a cent."""
    if amount is None:
        return UNKNOWN
    value = Decimal(str(amount))
    sign, size = ("−" if value < 0 else ""), abs(value)
    if size == 0:
        return "$0"
    if size >= 1000:
        return f"{sign}${size:,.0f}"
    if size >= 1:
        return f"{sign}${size:,.2f}"
    if size >= Decimal("0.01"):
        return f"{sign}${size:.3f}"
    return f"{sign}${size:.2g}" if size >= Decimal("0.0001") else f"{sign}under $0.0001"


def bounded(amount: Number | str | None, unpriced: int, assumed: int = 0) -> str:
    """Return dollars of calls: ``≥`` where some have no price, ``≈`` where one was assumed for some."""
    if amount is None:
        return NOT_PRICED if unpriced else UNKNOWN
    return estimated(usd(amount), unpriced, assumed)


def estimated(text: str, left_out: float, assumed: float) -> str:
    """Return a sum, marked ``≈`` where a part of it is assumed, else as `bound` does."""
    return bound(text, left_out or assumed, assumed)


def bound(text: str, left_out: float, over: float = 0) -> str:
    """Return a sum, marked where it is no exact one; an unknown stays one.

    Args:
        text: the sum.
        left_out: how many parts of it are not in it: it is a lower bound, ``≥``.
        over: how many parts of it may be less: it is an upper bound, ``≤``; with `left_out` neither, ``≈``.
    """
    mark = ("≈" if over else "≥") if left_out else "≤" if over else ""
    return f"{mark}{GAP}{text}" if mark and text not in {UNKNOWN, NOT_PRICED} else text


def count(number: Number | None) -> str:
    """Return a count, grouped by thousands; one decimal where it is not whole."""
    if number is None:
        return UNKNOWN
    value = float(number)
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:,.1f}"


def tokens(number: Number | None) -> str:
    """Return tokens: k, M or B from a thousand on."""
    if number is None:
        return UNKNOWN
    value = float(number)
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            short = value / limit
            return f"{short:.0f}{GAP}{unit}" if short >= 100 else f"{short:.1f}{GAP}{unit}"
    return f"{value:,.0f}"


def share(fraction: Number | None) -> str:
    """Return a share in per cent; one decimal below ten."""
    if fraction is None:
        return UNKNOWN
    value = float(fraction) * 100
    if value == 0:
        return f"0{GAP}%"
    if abs(value) < 0.1:
        return f"under 0.1{GAP}%"
    sign, size = ("−" if value < 0 else ""), abs(value)
    return f"{sign}{size:.1f}{GAP}%" if size < 10 else f"{sign}{size:,.0f}{GAP}%"


def times(factor: Number | None) -> str:
    """Return a factor."""
    if factor is None:
        return UNKNOWN
    value = float(factor)
    size = abs(value)
    if size == 0 or size >= 0.1:
        return f"{value:,.0f}×" if size >= 100 else f"{value:.1f}×" if size >= 10 else f"{value:.2f}×"
    return f"{value:.2g}×" if size >= 0.001 else "under 0.001×"


def seconds(duration_s: Number | None) -> str:
    """Return a duration in the unit that reads best."""
    if duration_s is None:
        return UNKNOWN
    value = float(duration_s)
    if value < 1:
        return f"{value * 1000:.0f}{GAP}ms" if value >= 0.01 or value == 0 else f"{value * 1000:.2g}{GAP}ms"
    for limit, size, unit in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if value < limit:
            return f"{value / size:.0f}{GAP}{unit}" if unit == "min" else f"{value / size:.1f}{GAP}{unit}"
    whole = value / 86_400
    return f"{whole:.1f}{GAP}days" if whole < 100 else f"{whole:,.0f}{GAP}days"


def days(number: Number | None) -> str:
    """Return a number of days."""
    return UNKNOWN if number is None else seconds(float(number) * 86_400)


def percent_width(fraction: float | None) -> str:
    """Return a share as the width of a bar, between 0 and 100."""
    return f"{min(max((fraction or 0) * 100, 0), 100):.2f}"
