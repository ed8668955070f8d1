"""What one request sets in motion, and the costliest run laid out in time."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from inferometer.reports.chapters.summary import Document
from inferometer.reports.charts.fanout_distribution import fanout_distribution
from inferometer.reports.contexts import (
    Block,
    Cell,
    Chapter,
    Chart,
    Column,
    Icicle,
    Note,
    Part,
    Plate,
    Span,
    Split,
    Table,
    Timeline,
    Why,
)
from inferometer.reports.evidence import shortened
from inferometer.reports.numbers import count, percent_width, seconds, share, times, tokens, usd

QUANTILE_METHOD = "Nearest-rank quantiles over runs, each run weighted by its inverse sampling probability."
PATH_METHOD = (
    "The critical path is walked from the end of each run: what ended last before a moment is what the run waited for. "
    "Gaps "
    "between calls are agent code where a span of the agent covers them, else idle."
)
PATH_NAMES = {"inference": "Model calls", "tool": "Tools", "agent": "Agent code", "idle": "Idle"}
TIMELINE_ROWS = 120


def fanout_chapter(document: Document) -> Chapter:
    """Return the chapter on fan-out."""
    fan = document["fanout"]
    if fan["inferences_per_run"]["p50"] is None:
        return Chapter("fanout", "Fan-out", "What one request sets in motion", "No run holds a model call.", [])
    blocks: list[Block] = [_quantiles(fan)]
    runs = document["runs"]
    for field, title, form in (("inferences", "Model calls per run", "~s"), ("cost_usd", "US dollars per run", "$~g")):
        if len({run[field] for run in runs if float(run[field]) > 0}) > 2:
            blocks.append(
                Chart(
                    f"fanout-{field.replace('_', '-')}",
                    f"{title}: the whole distribution",
                    f"Step curve: share of runs at or below each value of {title.lower()}, with P50, P90 and P99 "
                    "marked.",
                    fanout_distribution(runs, field, title, form),
                    Why(QUANTILE_METHOD, None, "inferometer runs --sort cost --json"),
                )
            )
    blocks += _path(fan)
    blocks.append(_agents(fan))
    blocks += _run(document["costliest_run"])
    return Chapter("fanout", "Fan-out", "What one request sets in motion", _lead(fan), blocks)


def _lead(fan: dict[str, Any]) -> str:
    calls, resend = fan["inferences_per_run"], fan["context_resend"]
    text = (
        f"Half of the runs make {count(calls['p50'])} model calls or fewer; one in a hundred makes "
        f"{count(calls['p99'])} or more."
    )
    if resend["p50"] is not None and resend["p50"] > 1.5:
        text += f" A median run sends its largest context {times(resend['p50'])} over the wire."
    if fan["amplification"]["p50"] is not None:
        text += f" Each token that a user writes becomes {count(fan['amplification']['p50'])} tokens processed."
    return text


def _quantiles(fan: dict[str, Any]) -> Table:
    lines = (
        ("Model calls", "inferences_per_run", count),
        ("Tool calls", "tool_calls_per_run", count),
        ("Input tokens", "input_tokens_per_run", tokens),
        ("Cost", "cost_usd_per_run", usd),
        ("Agents nested", "depth", count),
        ("Calls at once", "width", count),
        ("Context sent again", "context_resend", times),
        ("Tokens per user token", "amplification", times),
    )
    rows = [
        [Cell(title), *(Cell(show(fan[key][name])) for name in ("p50", "p90", "p99", "mean", "max"))]
        for title, key, show in lines
        if fan[key]["p50"] is not None
    ]
    columns = [Column("Per run"), *(Column(name, True) for name in ("Median", "P90", "P99", "Mean", "Most"))]
    return Table("fanout-quantiles", "Fan-out per run", columns, rows, Why(QUANTILE_METHOD, None, "inferometer runs"))


def _path(fan: dict[str, Any]) -> list[Block]:
    found = fan["critical_path_share"]
    if found["inference"] is None:
        return [Note("The runs carry no times, so what they waited for is unknown.")]
    parts = [
        Part(PATH_NAMES[kind], percent_width(found[kind]), index + 1, "", share(found[kind]))
        for index, kind in enumerate(PATH_NAMES)
        if found[kind]
    ]
    return [Split("What runs wait for", parts, Why(PATH_METHOD, None, "inferometer show RUN"))]


def _agents(fan: dict[str, Any]) -> Table:
    rows = [
        [
            Cell(shortened(row["agent"])),
            Cell(count(row["runs"]), sort=row["runs"]),
            *(_number(row["inferences_per_run"][name]) for name in ("p50", "p90", "p99")),
            Cell(tokens(row["input_tokens_per_run"]["p50"]), sort=float(row["input_tokens_per_run"]["p50"] or 0)),
            Cell(usd(row["cost_usd_per_run"]["p50"]), sort=row["cost_usd_per_run"]["p50"]),
            Cell(usd(row["cost_usd_per_run"]["p99"]), sort=row["cost_usd_per_run"]["p99"]),
            Cell(
                usd(row["cost_usd"] if row["cost_usd_per_run"]["max"] is not None else None),
                sort=float(row["cost_usd"]),
            ),
        ]
        for row in fan["by_agent"][:200]
    ]
    columns = [
        Column("Agent"),
        Column("Runs", True),
        Column("Calls, median", True),
        Column("P90", True),
        Column("P99", True),
        Column("Input, median", True),
        Column("Cost, median", True),
        Column("Cost, P99", True),
        Column("Cost, all", True),
    ]
    return Table(
        "fanout-agents",
        "Fan-out by agent",
        columns,
        rows,
        Why(QUANTILE_METHOD, None, "inferometer cost --by agent"),
        filterable=len(rows) > 8,
    )


def _number(value: float | None) -> Cell:
    return Cell(count(value), sort=float(value or 0))


def _run(run: dict[str, Any] | None) -> list[Block]:
    if run is None or not run["bars"]:
        return []
    whole = run["duration_s"] or 0.0
    bars: Sequence[dict[str, Any]] = run["bars"][:TIMELINE_ROWS]
    hidden = len(run["bars"]) - len(bars) + run["bars_left_out"]
    title = f"The costliest run: {shortened(run['agent'] or run['name'], 60)}, {usd(run['cost_usd'])}"
    why = Why("Spans of the run in order, indented by who called whom.", None, f"inferometer show {run['run_id']}")
    timeline = Timeline(
        "costliest-run",
        title,
        f"{count(run['inferences'])} model calls and {count(run['tool_calls'])} tool calls in {seconds(whole)}; each "
        "row is a span, "
        "each bar the time it took.",
        [_span(bar, whole) for bar in bars],
        [seconds(whole * part / 4) if part else "0" for part in range(5)],
        f"{count(hidden)} more spans are left out here" if hidden else None,
        why,
    )
    plates = _plates(run["bars"])
    if not plates:
        return [timeline]
    rows = str(max(int(plate.row) for plate in plates) + 1)
    return [
        timeline,
        Icicle(
            "run-icicle",
            "Who spent its dollars",
            "Each plate is as wide as what it and everything below it cost; the run is on top.",
            plates,
            rows,
            why,
        ),
    ]


def _span(bar: dict[str, Any], whole: float) -> Span:
    used = [tokens(bar[name]) for name in ("input_tokens", "output_tokens") if bar[name] is not None]
    return Span(
        name=shortened(bar["name"], 60),
        kind=bar["kind"],
        depth=min(bar["depth"], 8),
        left=percent_width(bar["start_s"] / whole if whole else 0),
        width=percent_width(bar["duration_s"] / whole if whole else 0),
        time=seconds(bar["duration_s"]),
        model=shortened(bar["model"] or "", 40),
        tokens=" → ".join(used),
        cost=usd(bar["cost_usd"]) if bar["cost_usd"] is not None else "",
        failed=bar["status"] == "error",
    )


def _plates(bars: Sequence[dict[str, Any]], depth_limit: int = 6) -> list[Plate]:
    """Return the icicle's rectangles: subtree costs side by side under their parent, the narrowest left out."""
    own = {bar["span_id"]: Decimal(str(bar["cost_usd"] or 0)) for bar in bars}
    children: dict[str | None, list[dict[str, Any]]] = {}
    for bar in bars:
        parent = bar["parent_id"] if bar["parent_id"] in own else None
        children.setdefault(parent, []).append(bar)
    subtree: dict[str, Decimal] = {}
    for bar in reversed(bars):
        # bars are in depth-first order, so that children come after their parent
        subtree[bar["span_id"]] = own[bar["span_id"]] + sum(
            (subtree[child["span_id"]] for child in children.get(bar["span_id"], [])), Decimal(0)
        )
    roots = children.get(None, [])
    total = sum((subtree[root["span_id"]] for root in roots), Decimal(0))
    if not total:
        return []
    plates: list[Plate] = []
    row_of = [(roots, Decimal(0), 0)]
    while row_of:
        siblings, left, row = row_of.pop()
        for bar in siblings:
            cost = subtree[bar["span_id"]]
            wide = float(cost / total)
            if wide < 0.002:
                continue
            plates.append(
                Plate(
                    shortened(bar["name"], 40),
                    bar["kind"],
                    f"{float(left / total) * 100:.3f}",
                    f"{wide * 100:.3f}",
                    str(row),
                    f"{shortened(bar['name'], 60)}: {usd(cost)}, {share(wide)}",
                    wide > 0.06,
                )
            )
            if row + 1 < depth_limit:
                row_of.append((children.get(bar["span_id"], []), left, row + 1))
            left += cost
    return plates
