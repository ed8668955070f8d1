"""Savings with their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import rows, specification


def savings(recommendations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return each recommendation's saving as a bar with a line from low to high."""
    values = [
        {
            "title": found["title"],
            "low": float(found["saving_usd"]["low"]),
            "mid": float(found["saving_usd"]["mid"]),
            "high": float(found["saving_usd"]["high"]),
        }
        for found in recommendations
    ]
    base = alt.Chart(rows(values)).encode(
        y=alt.Y("title:N", sort=[value["title"] for value in values], title=None, axis=alt.Axis(labelLimit=240))
    )
    bars = base.mark_bar(height={"band": 0.55}).encode(
        x=alt.X("mid:Q", title="US dollars saved in the window", axis=alt.Axis(format="$~s", tickCount=6)),
        tooltip=[
            alt.Tooltip("title:N", title="Change"),
            alt.Tooltip("low:Q", title="Low", format="$,.4f"),
            alt.Tooltip("mid:Q", title="Mid", format="$,.4f"),
            alt.Tooltip("high:Q", title="High", format="$,.4f"),
        ],
    )
    lines = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q")
    return specification(alt.layer(bars, lines), height=34 * len(values) + 40)
