"""The roofline: machines as roofs, the workload's work under them, training runs as what they reached."""

from __future__ import annotations

from typing import Any

import altair as alt

from inferometer.reports.charts.frame import rows, specification

TERA = 1e12
LEAST, MOST = 0.5, 20_000.0


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
        axis=alt.Axis(format="~s", tickCount=5, grid=False),
    )
    lines = (
        alt.Chart(rows(roofs))
        .mark_line(strokeWidth=2)
        .encode(x=x, y=y, color=alt.Color("machine:N", title=None, legend=alt.Legend(orient="top", columns=3)))
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
    labels = base.mark_text(align="left", dx=9, dy=8).encode(text="name:N")
    layers: list[alt.Chart] = [lines, dots, labels]
    if roofline["training"]:
        layers += _training(roofline["training"])
    return specification(alt.layer(*layers), height=320)


def _training(runs: list[dict[str, Any]]) -> list[alt.Chart]:
    levels = [{"name": f"training: {run['name']}", "tflops": run["flop_per_s"] / TERA} for run in runs]
    base = alt.Chart(rows(levels)).encode(y="tflops:Q")
    rule = base.mark_rule(strokeDash=[4, 4])
    label = base.mark_text(align="right", dx=-4, dy=-6).encode(text="name:N", x=alt.value("width"))
    return [rule, label]


def reached(machine: dict[str, Any], flop_per_byte: float) -> float:
    """Return the FLOP/s that a machine can reach at an intensity."""
    return float(min(machine["flop_per_s"], machine["bytes_per_s"] * flop_per_byte))
