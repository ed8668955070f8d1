"""Inference over training by horizon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import rows, specification


def ratio_over_horizon(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return cumulated inference over the whole of training, with its 80 % interval and the line of parity."""
    base = alt.Chart(rows([dict(point) for point in points])).encode(
        x=alt.X(
            "days:Q",
            title="Days from the first traced call",
            scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=[7, 14, 30, 60, 90, 180, 365, 730, 1095], format="d"),
        )
    )
    band = base.mark_area(opacity=0.25).encode(
        y=alt.Y("low:Q", title="Inference over training", scale=alt.Scale(type="symlog")), y2="high:Q"
    )
    line = base.mark_line(strokeWidth=2, point=True).encode(
        y="mid:Q",
        tooltip=[alt.Tooltip("days:Q", title="Days"), alt.Tooltip("mid:Q", title="Ratio", format=".3~g")],
    )
    parity = alt.Chart(rows([{"one": 1, "label": "parity"}])).encode(y="one:Q")
    rule = parity.mark_rule(strokeDash=[4, 4])
    label = parity.mark_text(align="left", dx=4, dy=10).encode(text="label:N", x=alt.value(0))
    return specification(alt.layer(band, line, rule, label))
