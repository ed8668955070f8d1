"""What one request sets in motion, and the costliest run laid out in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from inferometer.reports.chapters.summary import Document
from inferometer.reports.charts.fanout_distribution import fanout_distribution
from inferometer.reports.commands import Commands
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
from inferometer.reports.evidence import Links, shortened
from inferometer.reports.numbers import (
    GAP,
    NOT_PRICED,
    bounded,
    count,
    percent_width,
    seconds,
    share,
    times,
    tokens,
    usd,
)
from inferometer.schema.wording import counted

QUANTILE_METHOD = (
    "Nearest-rank quantiles over runs, each run weighted by its inverse sampling probability: half of the runs are at "
    "or below the median, nine in ten at or below P90, ninety-nine in a hundred at or below P99."
)
PATH_METHOD = (
    "The critical path is walked from the end of each run: what ended last before a moment is what the run waited for. "
    "Gaps "
    "between calls are agent code where a span of the agent covers them, else idle."
)
PATH_NAMES = {"inference": "Model calls", "tool": "Tools", "agent": "Agent code", "idle": "Idle"}
TIMELINE_ROWS = 120


def fanout_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on fan-out."""
    fan, commands = document["fanout"], links.commands
    if fan["inferences_per_run"]["p50"] is None:
        return Chapter("fanout", "Fan-out", "What one request sets in motion", "No run holds a model call.", [])
    why = Why(QUANTILE_METHOD, None, commands.reading("inferometer runs --sort inferences"))
    blocks: list[Block] = [_quantiles(fan, why)]
    runs = document["runs"]
    for field, title, form, order in (
        ("inferences", "Model calls per run", "~s", "inferences"),
        ("cost_usd", "US dollars per run", "$~g", "cost"),
    ):
        if len({run[field] for run in runs if run[field] is not None and float(run[field]) > 0}) > 2:
            blocks.append(
                Chart(
                    f"fanout-{field.replace('_', '-')}",
                    f"{title}: the whole distribution",
                    "Step curve: share of runs at or below each value. P50, P90 and P99: half of the runs, nine in ten "
                    f"and ninety-nine in a hundred are at or below.{_kept(document)}",
                    fanout_distribution(runs, field, title, form),
                    Why(QUANTILE_METHOD, None, commands.reading(f"inferometer runs --sort {order}")),
                )
            )
    blocks += _path(document["costliest_run"], fan, commands)
    blocks.append(
        _breakdown(
            "fanout-agents",
            "Fan-out by the agent that a run began with, its sub-agents' calls included",
            "Agent",
            [(row["agent"], row) for row in fan["by_agent"]],
            why,
        )
    )
    for id_, caption, key, rows in (
        ("fanout-versions", "Fan-out by version, first seen first", "version", fan["by_version"]),
        ("fanout-days", "Fan-out by day", "day", fan["by_day"]),
    ):
        if len(rows) > 1 or (rows and key == "version"):
            blocks.append(_breakdown(id_, caption, key.title(), [(row[key], row) for row in rows], why))
    blocks += _run(document["costliest_run"], commands)
    return Chapter("fanout", "Fan-out", "What one request sets in motion", _lead(document), blocks)


def _kept(document: Document) -> str:
    kept, runs = len(document["runs"]), document["totals"]["runs"]
    return f" Drawn are the {count(kept)} costliest of {counted(runs, 'run')}." if kept < runs else ""


def _lead(document: Document) -> str:
    fan = document["fanout"]
    calls, resend = fan["inferences_per_run"], fan["context_resend"]
    if document["totals"]["runs"] == 1:
        text = f"One run made {counted(calls['p50'], 'model call')}."
    else:
        text = f"Half of the runs make {counted(calls['p50'], 'model call')} or fewer; "
        few = document["totals"]["runs"] < 100
        text += (
            f"the most is {count(calls['max'])}." if few else f"one in a hundred makes {count(calls['p99'])} or more."
        )
    if resend["p50"] is not None and resend["p50"] > 1.5:
        text += f" A median run sends its largest context {times(resend['p50'])} over the wire."
    if fan["amplification"]["p50"] is not None:
        text += f" Each token that a user writes becomes {counted(fan['amplification']['p50'], 'token')} processed."
    return text


def _quantiles(fan: dict[str, Any], why: Why) -> Table:
    lines = (
        ("Model calls", fan["inferences_per_run"], count),
        ("Tool calls", fan["tool_calls_per_run"], count),
        ("Input tokens", fan["input_tokens_per_run"], tokens),
        ("Cost", fan["cost_usd_per_run"], usd),
        ("Agents within agents, deepest", fan["depth"], count),
        ("Calls at once, most", fan["width"], count),
        ("Largest context, times sent", fan["context_resend"], times),
        ("Tokens processed per token of the user", fan["amplification"], times),
        ("Runs per session", fan["by_session"]["runs_per_session"], count),
        ("Model calls per session", fan["by_session"]["inferences_per_session"], count),
        ("Cost per session", fan["by_session"]["cost_usd_per_session"], usd),
    )
    rows = [
        [Cell(title), *(Cell(show(found[name]), sort=found[name]) for name in ("p50", "p90", "p99", "mean", "max"))]
        for title, found, show in lines
        if found["p50"] is not None
    ]
    columns = [Column("Per run"), *(Column(name, True) for name in ("Median", "P90", "P99", "Mean", "Most"))]
    method = why.method
    if fan["unpriced_runs"] or fan["partly_priced_runs"]:
        method += (
            f" Cost: {counted(fan['unpriced_runs'], 'run')} without any price left out; of "
            f"{count(fan['partly_priced_runs'])} it is a lower bound."
        )
    return Table("fanout-quantiles", "Fan-out per run", columns, rows, replace(why, method=method))


def _path(run: dict[str, Any] | None, fan: dict[str, Any], commands: Commands) -> list[Block]:
    found = fan["critical_path_share"]
    if found["inference"] is None:
        return [Note("The runs carry no times, so what they waited for is unknown.")]
    parts = [
        Part(PATH_NAMES[kind], percent_width(found[kind]), kind, "", share(found[kind]))
        for kind in PATH_NAMES
        if found[kind]
    ]
    title = f"What runs wait for, over {counted(fan['critical_path_runs'], 'run')} with times"
    command = commands.showing(run["run_id"]) if run else commands.reading("inferometer runs --sort duration")
    return [Split(title, parts, why=Why(PATH_METHOD, None, command))]


def _breakdown(id_: str, caption: str, first: str, rows: Sequence[tuple[Any, dict[str, Any]]], why: Why) -> Table:
    columns = [
        Column(first),
        Column("Runs", True),
        Column("Calls, median", True),
        Column("P90", True),
        Column("P99", True),
        Column("Input, median", True),
        Column("Cost, median", True),
        Column("Cost, P99", True),
        Column("Cost, all", True),
    ]
    table = Table(
        id_,
        caption,
        columns,
        [_shape(str(name), row) for name, row in rows[:200]],
        why,
        filterable=len(rows) > 8,
        folded=len(rows) > 20,
    )
    if len(rows) > len(table.rows):
        table.caption += f" (the first {count(len(table.rows))} of {count(len(rows))})"
    return table


def _shape(name: str, row: dict[str, Any]) -> list[Cell]:
    per_run, whole = row["cost_usd_per_run"], row["cost_usd"]
    return [
        Cell(shortened(name)),
        Cell(count(row["runs"]), sort=row["runs"]),
        *(_number(row["inferences_per_run"][quantile]) for quantile in ("p50", "p90", "p99")),
        Cell(tokens(row["input_tokens_per_run"]["p50"]), sort=float(row["input_tokens_per_run"]["p50"] or 0)),
        *(
            Cell(NOT_PRICED if per_run[quantile] is None else usd(per_run[quantile]), sort=per_run[quantile] or 0.0)
            for quantile in ("p50", "p99")
        ),
        Cell(bounded(whole, row["unpriced"]), sort=float(whole or 0)),
    ]


def _number(value: float | None) -> Cell:
    return Cell(count(value), sort=float(value or 0))


def _run(run: dict[str, Any] | None, commands: Commands) -> list[Block]:
    if run is None or not run["bars"]:
        return []
    whole = run["duration_s"] or 0.0
    bars: Sequence[dict[str, Any]] = run["bars"][:TIMELINE_ROWS]
    hidden = len(run["bars"]) - len(bars) + run["bars_left_out"]
    name = shortened(run["agent"] or run["name"], 60)
    title = f"The costliest run: {name}, {bounded(run['cost_usd'], run['unpriced'])}"
    if run["cost_usd"] is None:
        title = f"The run with the most model calls: {name}"
    why = Why("Spans of the run in order, indented by who called whom.", None, commands.showing(run["run_id"]))
    timeline = Timeline(
        "costliest-run",
        title,
        f"{counted(run['inferences'], 'model call')} and {counted(run['tool_calls'], 'tool call')} in "
        f"{seconds(whole)}; each row is a span, each bar the time it took.",
        [_span(bar, whole) for bar in bars],
        _scale(whole),
        f"{counted(hidden, 'more span')} left out here" if hidden else None,
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


def _scale(whole_s: float) -> list[str]:
    """Return five marks from 0 to the whole, in one unit."""
    size, unit = next(
        ((size, unit) for limit, size, unit in ((2, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min")) if whole_s < limit),
        (3600, "h"),
    )
    return ["0", *(f"{whole_s * part / 4 / size:.3g}{GAP}{unit}" for part in range(1, 5))]


def _span(bar: dict[str, Any], whole: float) -> Span:
    used = [tokens(bar[name]) for name in ("input_tokens", "output_tokens") if bar[name] is not None]
    return Span(
        name=shortened(bar["name"], 60),
        kind=bar["kind"],
        depth=min(bar["depth"], 8),
        left=percent_width(bar["start_s"] / whole if whole else 0),
        width=percent_width(bar["duration_s"] / whole if whole else 0),
        time=seconds(bar["duration_s"]),
        model="" if (bar["model"] or "") in bar["name"] else shortened(bar["model"], 40),
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
