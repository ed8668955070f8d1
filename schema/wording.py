"""Words that agree with their number."""

from __future__ import annotations


def counted(number: float, one: str, many: str | None = None) -> str:
    """Return a number with its noun, ``1 run`` or ``2,000 runs``; `many` is the plural where it is not `one` with s."""
    shown = f"{number:,.0f}" if number == int(number) or abs(number) >= 100 else f"{number:,.1f}"
    return f"{shown} {one if shown == '1' else many or one + 's'}"
