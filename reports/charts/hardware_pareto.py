"""Hardware compared: cost against speed, and the front that nothing beats in both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import DOLLARS, LEGEND_AND_AXIS_PX, rows, specification
from inferometer.reports.charts.labels import offsets

HEIGHT, PLOT_PX = 340, 560
"""Labels to the right of the last point take the rest of the width."""


def front(points: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the points that no other is both cheaper and faster than, the fastest first."""
    kept: list[dict[str, Any]] = []
    for point in sorted(points, key=lambda point: (point["seconds"], point["usd"])):
        if not kept or point["usd"] < kept[-1]["usd"]:
            kept.append(point)
    return kept


def hardware_pareto(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return a point for each scenario: run time across, cost up, both better towards the origin.

    Args:
        points: ``name``, ``seconds``, ``usd``, ``usd_low``, ``usd_high`` and ``confidence`` of each scenario.
    """
    places = [(math.log10(max(point["seconds"], 1e-9)), math.log10(max(point["usd"], 1e-9))) for point in points]
    # the axis of dollars is drawn from a power of ten to another
    low = math.floor(math.log10(max(min(point["usd_low"] for point in points), 1e-9)))
    high = math.ceil(math.log10(max(max(point["usd_high"] for point in points), 1e-9)))
    shifts = offsets(
        places, [point["name"] for point in points], HEIGHT - LEGEND_AND_AXIS_PX, (low, high), width_px=PLOT_PX
    )
    labelled = [{**point, "dy": dy} for point, dy in zip(points, shifts, strict=True)]
    across = alt.X("seconds:Q", title="Median run, seconds", scale=alt.Scale(type="log", nice=False, padding=40))
    base = alt.Chart(rows(labelled)).encode(x=across)
    bars = base.mark_rule(opacity=0.45).encode(
        y=alt.Y(
            "usd_low:Q",
            title="US dollars for these calls",
            scale=alt.Scale(type="log"),
            axis=alt.Axis(format=DOLLARS, tickCount=5, grid=False),
        ),
        y2="usd_high:Q",
    )
    line = (
        alt.Chart(rows([dict(point) for point in front(points)]))
        .mark_line(interpolate="step-after", strokeDash=[2, 3], strokeWidth=1.5, opacity=0.6)
        .encode(x=across, y="usd:Q")
    )
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        y="usd:Q",
        shape=alt.Shape("confidence:N", title=None, legend=alt.Legend(orient="top", columns=5)),
        tooltip=[
            alt.Tooltip("name:N", title="Scenario"),
            alt.Tooltip("seconds:Q", title="Median run, s", format=",.3~g"),
            alt.Tooltip("usd:Q", title="Cost", format="$,.2f"),
            alt.Tooltip("confidence:N", title="Confidence"),
        ],
    )
    names = [
        alt.Chart(rows([point for point in labelled if point["dy"] == dy]))
        .mark_text(align="left", dx=9, dy=dy)
        .encode(x=across, y="usd:Q", text="name:N")
        for dy in sorted(set(shifts))
    ]
    return specification(alt.layer(bars, line, dots, *names), height=HEIGHT)
