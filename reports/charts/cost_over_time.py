"""Cost by day and model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import rows, specification


def cost_over_time(days: Sequence[dict[str, Any]], largest: int = 6) -> dict[str, Any]:
    """Return stacked bars of dollars a day; models beyond the `largest` few are one colour."""
    spent: dict[str, float] = {}
    for day in days:
        spent[day["model"]] = spent.get(day["model"], 0.0) + float(day["cost_usd"])
    named = sorted(spent, key=lambda model: (-spent[model], model))[:largest]
    values = [
        {
            "day": day["day"],
            "model": day["model"] if day["model"] in named else "other models",
            "usd": float(day["cost_usd"]),
        }
        for day in days
    ]
    chart = (
        alt.Chart(rows(values))
        .mark_bar(minBandSize=2)
        .encode(
            x=alt.X("day:T", timeUnit="utcyearmonthdate", title=None, axis=alt.Axis(format="%-d %b %Y", tickCount=6)),
            y=alt.Y("sum(usd):Q", title="US dollars a day", axis=alt.Axis(format="$~s", tickCount=5)),
            color=alt.Color("model:N", sort=[*named, "other models"], title=None, legend=alt.Legend(orient="top")),
            tooltip=[
                alt.Tooltip("day:T", title="Day"),
                alt.Tooltip("model:N", title="Model"),
                alt.Tooltip("sum(usd):Q", title="Cost", format="$,.2f"),
            ],
        )
    )
    return specification(chart)
