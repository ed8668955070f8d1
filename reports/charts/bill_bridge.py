"""The bill bridge as a waterfall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import CHANGE, rows, specification


def bill_bridge(steps: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a waterfall from the first window's spend to the second's."""
    values: list[dict[str, Any]] = []
    level = 0.0
    for step in steps:
        amount = float(step["amount_usd"])
        is_total = step["step"] in {"start", "end"}
        low, high = (0.0, amount) if is_total else (level, level + amount)
        level = high
        kind = "spend" if is_total else "more" if amount >= 0 else "less"
        values.append({"title": step["title"], "from": low, "to": high, "amount": amount, "kind": kind})
    order = [value["title"] for value in values]
    base = alt.Chart(rows(values)).encode(y=alt.Y("title:N", sort=order, title=None, axis=alt.Axis(labelLimit=220)))
    bars = base.mark_bar(height={"band": 0.66}).encode(
        x=alt.X("from:Q", title="US dollars", axis=alt.Axis(format="$~s", tickCount=6)),
        x2="to:Q",
        color=alt.Color("kind:N", scale=alt.Scale(domain=["spend", "more", "less"], range=CHANGE), legend=None),
        tooltip=[alt.Tooltip("title:N", title="Step"), alt.Tooltip("amount:Q", title="Change", format="+$,.4f")],
    )
    return specification(bars, height=28 * len(values) + 40)
