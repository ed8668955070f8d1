"""Hardware compared: cost against speed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import rows, specification


def hardware_pareto(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a point for each scenario: run time across, cost up, both better towards the origin.

    Args:
        points: ``name``, ``seconds``, ``usd``, ``usd_low``, ``usd_high`` and ``confidence`` of each scenario.
    """
    base = alt.Chart(rows([dict(point) for point in points])).encode(
        x=alt.X("seconds:Q", title="Median run, seconds", scale=alt.Scale(type="log", nice=False, padding=40))
    )
    bars = base.mark_rule(opacity=0.6).encode(
        y=alt.Y(
            "usd_low:Q",
            title="US dollars for these calls",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(format="$~s", tickCount=5, grid=False),
        ),
        y2="usd_high:Q",
    )
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        y="usd:Q",
        shape=alt.Shape("confidence:N", title=None, legend=alt.Legend(orient="top")),
        tooltip=[
            alt.Tooltip("name:N", title="Scenario"),
            alt.Tooltip("seconds:Q", title="Median run, s", format=",.3~g"),
            alt.Tooltip("usd:Q", title="Cost", format="$,.2f"),
            alt.Tooltip("confidence:N", title="Confidence"),
        ],
    )
    names = base.mark_text(align="left", dx=9, dy=-6).encode(y="usd:Q", text="name:N")
    return specification(alt.layer(bars, dots, names), height=320)
