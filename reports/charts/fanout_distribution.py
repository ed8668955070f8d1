"""How the runs' fan-out is distributed: every run a step of the curve, so that the tail is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import rows, specification


def fanout_distribution(
    runs: Sequence[dict[str, Any]], field: str, title: str, number_format: str = "~s"
) -> dict[str, Any]:
    """Return the share of runs at or below a value, over a logarithmic axis.

    Args:
        runs: points with the field.
        field: which of their numbers.
        title: of the horizontal axis.
        number_format: of its labels, in d3's notation.
    """
    ordered = sorted(value for run in runs if run[field] is not None and (value := float(run[field])) > 0)
    steps = len(ordered)
    values = [{"value": value, "share": (index + 1) / steps} for index, value in enumerate(ordered)]
    base = alt.Chart(rows(values)).encode(
        x=alt.X(
            "value:Q",
            scale=alt.Scale(type="log", nice=False),
            title=title,
            axis=alt.Axis(format=number_format, tickCount=6),
        ),
        y=alt.Y(
            "share:Q", title="Share of runs", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5)
        ),
    )
    line = base.mark_line(interpolate="step-after", strokeWidth=2)
    marks = [
        {
            "value": ordered[min(steps - 1, max(0, -(-steps * level // 100) - 1))],
            "share": level / 100,
            "label": f"P{level}",
        }
        for level in (50, 90, 99)
    ]
    points = alt.Chart(rows(marks)).encode(x="value:Q", y="share:Q")
    dots = points.mark_point(filled=True, size=60, opacity=1).encode(
        tooltip=[alt.Tooltip("label:N", title="Quantile"), alt.Tooltip("value:Q", title=title, format=",.4~g")]
    )
    labels = points.mark_text(align="left", dx=8, dy=10).encode(text="label:N")
    return specification(alt.layer(line, dots, labels))
