"""What all charts share: width, axes without clutter, and data that is inlined."""

from __future__ import annotations

from typing import Any

import altair as alt
from altair.utils.schemapi import debug_mode

HEIGHT = 240
DOLLARS = "$,~r"
"""Format of a logarithmic axis of dollars: with units of a thousand d3 would call ten cents 100m."""
LEGEND_AND_AXIS_PX = 95
"""About what a legend of two lines and the axis below take of a chart's height."""
CHANGE = "ordinal"
"""The range of colours, which the page's theme sets, for a level, what raises it and what lowers it."""


def specification(chart: alt.Chart | alt.LayerChart | alt.FacetChart, height: int = HEIGHT) -> dict[str, Any]:
    """Return a chart's specification: as wide as its place, `height` pixels high, colours left to the theme."""
    spec: dict[str, Any] = chart.properties(width="container", height=height).to_dict()
    spec.pop("config", None)
    spec.pop("$schema", None)
    spec["autosize"] = {"type": "fit", "contains": "padding"}
    return spec


def rows(values: list[dict[str, Any]]) -> alt.InlineData:
    """Return inline data; the chart is checked as a whole, its rows not one by one before that."""
    with debug_mode(False):
        return alt.InlineData(values=values)
