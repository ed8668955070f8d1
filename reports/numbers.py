"""Numbers for reading: dollars, tokens, shares and times as short texts; an unknown is the word itself."""

from __future__ import annotations

from decimal import Decimal

UNKNOWN = "unknown"

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
            return f"{short:.0f} {unit}" if short >= 100 else f"{short:.1f} {unit}"
    return f"{value:,.0f}"


def share(fraction: Number | None) -> str:
    """Return a share in per cent; one decimal below ten."""
    if fraction is None:
        return UNKNOWN
    value = float(fraction) * 100
    if value == 0:
        return "0 %"
    if abs(value) < 0.1:
        return "under 0.1 %"
    return f"{value:.1f} %" if abs(value) < 10 else f"{value:.0f} %"


def times(factor: Number | None) -> str:
    """Return a factor."""
    if factor is None:
        return UNKNOWN
    value = float(factor)
    return f"{value:,.0f}×" if abs(value) >= 100 else f"{value:.1f}×" if abs(value) >= 10 else f"{value:.2f}×"


def seconds(duration_s: Number | None) -> str:
    """Return a duration in the unit that reads best."""
    if duration_s is None:
        return UNKNOWN
    value = float(duration_s)
    if value < 1:
        return f"{value * 1000:.0f} ms" if value >= 0.01 or value == 0 else f"{value * 1000:.2g} ms"
    if value < 120:
        return f"{value:.1f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h" if value < 172_800 else f"{value / 86_400:.1f} days"


def days(number: Number | None) -> str:
    """Return a number of days."""
    return UNKNOWN if number is None else seconds(float(number) * 86_400)


def percent_width(fraction: float | None) -> str:
    """Return a share as the width of a bar, between 0 and 100."""
    return f"{min(max((fraction or 0) * 100, 0), 100):.2f}"
