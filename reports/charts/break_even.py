"""Self-hosting against the bill: what these calls cost on a machine that is in use for a share of its time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from inferometer.reports.charts.frame import DOLLARS, rows, specification


def break_even(machines: Sequence[dict[str, Any]], billed_usd: float) -> dict[str, Any]:
    """Return a falling line for each machine and the bill as a level; they cross at the break-even utilisation.

    Args:
        machines: ``name`` and ``usd``, the cost of the hours in which the machine worked on these calls.
        billed_usd: what the same calls were billed.
    """
    shares = [step / 100 for step in (2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100)]
    values = [
        {"machine": machine["name"], "share": share, "usd": machine["usd"] / share}
        for machine in machines
        for share in shares
    ]
    lines = (
        alt.Chart(rows(values))
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X(
                "share:Q",
                title="Share of its time that the machine is in use",
                axis=alt.Axis(format="%", tickCount=6),
                scale=alt.Scale(domain=[0, 1]),
            ),
            y=alt.Y(
                "usd:Q",
                title="US dollars for these calls",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format=DOLLARS, tickCount=5, grid=False),
            ),
            color=alt.Color("machine:N", title=None, legend=alt.Legend(orient="top", symbolType="stroke")),
            tooltip=[
                alt.Tooltip("machine:N", title="Machine"),
                alt.Tooltip("share:Q", title="In use", format=".0%"),
                alt.Tooltip("usd:Q", title="Cost", format="$,.2f"),
            ],
        )
    )
    level = alt.Chart(rows([{"usd": billed_usd, "label": "billed"}])).encode(y="usd:Q")
    rule = level.mark_rule(strokeDash=[4, 4])
    label = level.mark_text(align="right", dx=-4, dy=-6).encode(text="label:N", x=alt.value("width"))
    return specification(alt.layer(lines, rule, label), height=280)
