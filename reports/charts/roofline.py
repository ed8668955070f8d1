"""The roofline: machines as roofs, the workload's work under them, training runs as what they reached."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import LEGEND_AND_AXIS_PX, rows, specification
from inferometer.reports.charts.labels import BELOW, offsets

TERA = 1e12
LEAST, MOST = 0.5, 20_000.0
HEIGHT = 360
TFLOPS = (math.log(0.1), math.log(10_000))
"""About what the vertical axis spans."""


def roofline_chart(roofline: dict[str, Any]) -> dict[str, Any]:
    """Return a roof for each machine, and the workload's points on the roof of the first.

    Args:
        roofline: ``machines``, ``points`` and ``training`` of the audit document.
    """
    machines = roofline["machines"]
    intensities = [point["flop_per_byte"] for point in roofline["points"]]
    least, most = min([LEAST, *intensities]), max([MOST, *intensities])
    roofs = [
        {"machine": machine["name"], "intensity": at, "tflops": reached(machine, at) / TERA}
        for machine in machines
        for at in (least, machine["ridge_flop_per_byte"], most)
        if least <= at <= most
    ]
    x = alt.X(
        "intensity:Q",
        title="FLOP per byte read",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format="~s", tickCount=6),
    )
    y = alt.Y(
        "tflops:Q",
        title="TFLOP/s of one chip",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format=",~r", tickCount=5, grid=False),
    )
    lines = (
        alt.Chart(rows(roofs))
        .mark_line(strokeWidth=2)
        .encode(
            x=x,
            y=y,
            color=alt.Color("machine:N", title=None, legend=alt.Legend(orient="top", symbolType="stroke")),
        )
    )
    points = [
        {
            "name": point["name"],
            "intensity": point["flop_per_byte"],
            "tflops": reached(machines[0], point["flop_per_byte"]) / TERA,
        }
        for point in roofline["points"]
    ]
    base = alt.Chart(rows(points)).encode(x="intensity:Q", y="tflops:Q")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        tooltip=[
            alt.Tooltip("name:N", title="Work"),
            alt.Tooltip("intensity:Q", title="FLOP per byte", format=",.3~g"),
            alt.Tooltip("tflops:Q", title="TFLOP/s at most", format=",.3~g"),
        ]
    )
    layers = [lines, dots, *_names(points, least, most)]
    if roofline["training"]:
        layers += _training(roofline["training"])
    return specification(alt.layer(*layers), height=HEIGHT)


def _names(points: list[dict[str, Any]], least: float, most: float) -> list[alt.Chart]:
    """Return the points' labels: under the roof, to the left of what lies in the right third of the chart."""
    places = [(math.log(point["intensity"]), math.log(point["tflops"])) for point in points]
    shifts = offsets(places, [point["name"] for point in points], HEIGHT - LEGEND_AND_AXIS_PX, TFLOPS, steps=BELOW)
    layers = []
    for point, dy in zip(points, shifts, strict=True):
        is_right = math.log(point["intensity"] / least) > 0.7 * math.log(most / least)
        layers.append(
            alt.Chart(rows([point]))
            .mark_text(
                align="right" if is_right else "left", dx=-4 if is_right else 11, dy=max(dy, 16) if is_right else dy
            )
            .encode(x="intensity:Q", y="tflops:Q", text="name:N")
        )
    return layers


def _training(runs: list[dict[str, Any]]) -> list[alt.Chart]:
    levels = sorted(
        ({"name": f"training: {run['name']}", "tflops": run["flop_per_s"] / TERA} for run in runs),
        key=lambda level: -level["tflops"],
    )
    rule = alt.Chart(rows(levels)).mark_rule(strokeDash=[4, 4]).encode(y="tflops:Q")
    places = [(0.0, math.log(level["tflops"])) for level in levels]
    shifts = offsets(places, [level["name"] for level in levels], HEIGHT - LEGEND_AND_AXIS_PX, TFLOPS)
    labels = [
        alt.Chart(rows([level]))
        .mark_text(align="left", dx=4, dy=dy)
        .encode(y="tflops:Q", text="name:N", x=alt.value(0))
        for level, dy in zip(levels, shifts, strict=True)
    ]
    return [rule, *labels]


def reached(machine: dict[str, Any], flop_per_byte: float) -> float:
    """Return the FLOP/s that a machine can reach at an intensity."""
    return float(min(machine["flop_per_s"], machine["bytes_per_s"] * flop_per_byte))
