"""What ``replay`` and ``sweep`` print for people."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.table import Table

from inferometer.reports.console import open_console
from inferometer.reports.numbers import bound
from inferometer.reports.terminal import UNKNOWN, show_count, show_money
from inferometer.schema.wording import counted


def show_seconds(value: float | None) -> str:
    """Return a time as shown, in the unit that fits it."""
    if value is None:
        return UNKNOWN
    if value < 1:
        return f"{value * 1000:.3g} ms"
    if value < 60:
        return f"{value:.3g} s"
    return f"{value / 60:.3g} min" if value < 3600 else f"{value / 3600:,.1f} h"


def show_share(value: float | None) -> str:
    """Return a share as percent."""
    return UNKNOWN if value is None else f"{100 * value:.1f} %"


_WAYS = {
    "text": "counted again from text",
    "ratio": "by the vocabularies' measured ratio",
    "same_vocabulary": "of one vocabulary",
    "unknown": "as recorded, vocabulary unknown",
    "scale": "scaled as asked",
}


def _counted(shares: dict[str, float]) -> str:
    """Say of what share of calls tokens are known which way."""
    return ", ".join(f"{show_share(share)} {_WAYS[way]}" for way, share in shares.items() if share > 0) or UNKNOWN


def _trust(answer: dict[str, Any]) -> str:
    said = f"{answer['confidence']}: {answer['confidence_reason']}"
    if answer["confidence"] == "extrapolated":  # the reason tells the share
        return said
    return f"{said}; {show_share(answer['extrapolated_share'])} of working time extrapolated"


def _costs(answer: dict[str, Any]) -> str:
    """Say what the replay costs on each basis, the one that was asked for with its range, and what was recorded."""
    cost, basis, recorded = answer["cost_usd"], answer["cost_basis"], answer["recorded"]
    said = [f"{show_money(cost['mid'])} {basis or ''} ({show_money(cost['low'])} to {show_money(cost['high'])})"]
    others = {name: usd for name, usd in answer["cost_usd_by_basis"].items() if name != basis and usd is not None}
    said += [f"{show_money(usd)} {name.replace('_', ' ')}" for name, usd in others.items()]
    return f"{', '.join(said)}; recorded {bound(show_money(recorded['cost_usd']), recorded['unpriced'])}"


def print_replay(answer: dict[str, Any]) -> None:
    """Print one replay document."""
    scenario, recorded = answer["scenario"], answer["recorded"]
    console = open_console()
    table = Table(
        title=f"{scenario['model']} ({scenario['precision']}) on {scenario['chips']} x {scenario['hardware']}, "
        f"{scenario['engine']} {scenario['engine_version'] or ''}".rstrip(),
        show_header=True,
    )
    for column in ("", "p50", "p90", "p99", "recorded p50"):
        table.add_column(column, justify="left" if not column else "right")
    for title, key in (
        ("time to first token", "ttft_s"),
        ("time per output token", "tpot_s"),
        ("call", "e2e_s"),
        ("run", "run_e2e_s"),
    ):
        before = recorded.get(key, {}).get("p50")
        table.add_row(title, *(show_seconds(answer[key][name]) for name in ("p50", "p90", "p99")), show_seconds(before))
    console.print(table)
    refused = answer["refused"]
    lines = {
        "calls": f"{show_count(answer['calls'])} in {show_count(answer['runs'])} runs; refused "
        f"{show_count(refused['over_context'])} over the window, {show_count(refused['over_memory'])} over memory; "
        f"{show_share(answer['infeasible_runs_share'])} of runs infeasible",
        "tokens": f"input {_counted(scenario['input_counted_by'])}; output {_counted(scenario['output_counted_by'])}",
        "arrivals": str(answer["arrivals"]["note"]),
        "prefix cache": UNKNOWN
        if answer["prefix_hit_rate"] is None
        else f"{show_share(answer['prefix_hit_rate'])} of prompt blocks found "
        f"({show_share(answer['prefix_hit_rate_infinite_served'])} in one that never forgets)",
        "busy": f"{show_share(answer['busy_share'])} of {show_seconds(answer['makespan_s'])}; "
        f"MFU {show_share(answer['mfu'])}, MBU {show_share(answer['mbu'])}",
        "waiting": f"{show_seconds(answer['queue_s']['p50'])} in the engine's queue "
        f"(90th percentile {show_seconds(answer['queue_s']['p90'])}), "
        f"{show_seconds(answer['gateway_s']['p50'])} before it",
        "cost": _costs(answer),
        "energy": f"{answer['energy_kwh']:.3g} kWh, {answer['gco2e']:,.0f} g CO2e"
        if answer["energy_kwh"] is not None
        else UNKNOWN,
        "trust": _trust(answer),
    }
    for title, text in lines.items():
        console.print(f"[bold]{title}[/bold]  ", end="")
        console.print(text, markup=False)
    if answer["warnings"]:
        console.print("warnings: " + ", ".join(f"{kind} {count}" for kind, count in answer["warnings"].items()))
    if capacity := answer.get("capacity"):
        console.print(
            f"capacity: {capacity['replicas']} replicas and {capacity['spare']} spare, "
            f"{show_money(capacity['usd_per_day']['fixed'])} a day"
        )
    for line in answer.get("sensitivity", ()):
        console.print(
            f"output x {line['output']:g}, steps x {line['steps']:g}: {show_money(line['cost_usd'])}, "
            f"run {show_seconds(line['run_e2e_s']['p50'])}"
        )


def print_sweep(answer: dict[str, Any]) -> None:
    """Print what nothing beats; the others too where a screen holds them all."""
    console = open_console()
    rows, skipped = answer["scenarios"], answer["skipped"]
    front = [row for row in rows if row["pareto"]]
    whole = len(rows) + len(skipped) <= SCREEN_ROWS
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("machine", min_width=20, overflow="fold")
    for title in _SWEEP_TITLES:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows if whole else front:
        table.add_row(*_sweep_cells(row, whole), style="bold" if whole and row["pareto"] else "")
    console.print(table)
    console.print(_SWEEP_NOTE.format("those marked *" if whole else "these"), style="dim")
    warnings = Counter[str]()
    for row in rows:
        warnings |= Counter(row["warnings"])
    if warnings:
        console.print("warnings: " + ", ".join(f"{kind} {count}" for kind, count in sorted(warnings.items())))
    if whole:
        for left in skipped:
            console.print(f"{left['hardware']} {left['precision']}: {left['reason']}", markup=False, style="dim")
        return
    console.print(
        f"not shown: {counted(len(rows) - len(front), 'deployment')} and {len(skipped)} that cannot run; "
        "--hardware NAME shows those of one machine, --json all",
        style="dim",
    )


SCREEN_ROWS = 40
"""Of a sweep that is shown whole; of a longer one, what nothing beats."""

_SWEEP_TITLES = ("cost", "ttft p50", "tpot p50", "run p50", "infeasible", "trust")
_SWEEP_NOTE = "nothing that serves as many runs is both cheaper and faster than {}"


def _sweep_cells(row: dict[str, Any], marked: bool) -> list[str]:
    mark = "* " if marked and row["pareto"] else ""
    return [
        f"{mark}{row['chips']} x {row['hardware']} {row['precision']}",
        show_money(row["cost_usd"]["mid"]),
        *(show_seconds(row[key]["p50"]) for key in ("ttft_s", "tpot_s", "run_e2e_s")),
        *(show_share(row["infeasible_runs_share"]), row["confidence"]),
    ]
