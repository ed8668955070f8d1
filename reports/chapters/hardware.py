"""The same calls elsewhere: replays on other hardware and serving profiles."""

from __future__ import annotations

from shlex import quote
from typing import Any

from inferometer.reports.chapters.summary import Document
from inferometer.reports.charts.break_even import break_even
from inferometer.reports.charts.hardware_pareto import hardware_pareto
from inferometer.reports.charts.roofline import roofline_chart
from inferometer.reports.commands import Commands
from inferometer.reports.contexts import Block, Cell, Chapter, Chart, Column, Note, Table, Why
from inferometer.reports.evidence import Links
from inferometer.reports.numbers import count, seconds, share, usd
from inferometer.schema.wording import counted

METHOD = (
    "The recorded calls with their dependencies, tool times and shared prefixes, replayed through a model of a "
    "continuously batching engine. Shared: the hours in which the machine worked on these calls, on a fleet in use for "
    "the share of its time that the scenario states. Dedicated: every hour from the first call to the last. Both at "
    "the low, middle and high price of the hardware's profile."
)


def hardware_chapter(document: Document, links: Links) -> Chapter:
    """Return the chapter on replays."""
    scenarios = document["scenarios"]
    if not scenarios:
        note = Note("No replay was made: the calls carry no usage, or the command ran with --no-replay.", "empty")
        return Chapter("hardware", "Hardware", "The same calls on other hardware", "", [note])
    lead = scenarios[0].get("note") or "These calls, replayed on hardware of one's own."
    why = Why(
        f"{METHOD} The command makes the first row again, over all calls of the selection; the other rows name another "
        "machine.",
        None,
        _command(scenarios[0], links.commands),
    )
    blocks: list[Block] = []
    points = [point for row in scenarios if (point := _point(row)) is not None]
    if len(points) > 1:
        blocks.append(
            Chart(
                "hardware-pareto",
                "Cost against speed",
                "Points: each machine's cost on a shared fleet and its median run; thin lines run from the low to the "
                "high price. The stepped line is the front: nothing is both cheaper and faster.",
                hardware_pareto(points),
                why,
            )
        )
    blocks += _break_even(scenarios, why)
    blocks += _roofline(document.get("roofline"), why)
    rows = [_row(row) for row in scenarios]
    columns = [
        Column("Scenario"),
        Column("Shared", True),
        Column("Low to high", True),
        Column("Dedicated", True),
        Column("Median run", True),
        Column("First token", True),
        Column("Per token", True),
        Column("Cache hits", True),
        Column("Busy", True),
        Column("Refused", True),
        Column("Confidence"),
    ]
    blocks.append(Table("scenarios", "Replays of these calls", columns, rows, why))
    return Chapter("hardware", "Hardware", "The same calls on other hardware", lead, blocks)


def _break_even(scenarios: list[dict[str, Any]], why: Why) -> list[Block]:
    """Return the bill against self-hosting over utilisation; nothing without a bill or priced machines."""
    machines = []
    billed = None
    for row in scenarios:
        used = (row.get("cost_usd_by_basis") or {}).get("pay_per_use")
        recorded = (row.get("recorded") or {}).get("cost_usd")
        if row["kind"] == "hardware" and used is not None and recorded is not None and float(recorded) > 0:
            billed = float(recorded)
            machines.append({"name": row["title"], "usd": float(used), "uneven": _uneven(row)})
    if billed is None or not machines:
        return []
    best = min(machines, key=lambda machine: machine["usd"])
    share_needed = best["usd"] / billed
    words = f"{best['name']} breaks even where it is in use {share(share_needed)} of its time or more"
    if share_needed > 1:
        words = f"none breaks even: even a machine that is never idle ({best['name']}) costs more than the bill"
    return [
        Chart(
            "break-even",
            "Self-hosting against the bill",
            "Lines: what the replayed calls cost on each machine by the share of its time in use; the dashed line is "
            f"the {usd(billed)} that they were billed. {words[0].upper()}{words[1:]}.{best['uneven']}",
            break_even(machines, billed),
            Why(
                f"{METHOD} Here the hours of work divided by the share of time in use, at the middle price; {words}. "
                "People who run the machines are not in it.",
                None,
                why.command,
            ),
        )
    ]


def _uneven(row: dict[str, Any]) -> str:
    """Return how the work of a replay and the bill beside it differ, in sentences; empty where they do not."""
    words = ""
    refused = sum((row.get("refused") or {}).values())
    if refused:
        words += (
            f" Of {counted(row['calls'], 'call')} {count(refused)} did not fit there: billed, and in no cost of it."
        )
    unpriced = (row.get("recorded") or {}).get("unpriced")
    if unpriced:
        words += f" The bill leaves out {counted(unpriced, 'call')} without a price."
    return words


def _command(row: dict[str, Any], commands: Commands) -> str:
    """Return the command that replays all calls of the selection as one row did."""
    scenario = row["scenario"]
    options = [
        f"--{option} {quote(str(scenario[option]))}"
        for option in ("hardware", "engine", "model", "precision", "tp")
        if scenario.get(option) not in (None, "")
    ]
    return commands.reading(" ".join(["inferometer replay", *options]))


def _roofline(found: dict[str, Any] | None, why: Why) -> list[Block]:
    """Return the roofline; nothing where no call was replayed or no machine computes at the precision."""
    if not found or not found["machines"]:
        return []
    first = found["machines"][0]
    bound = [point["name"] for point in found["points"] if point["flop_per_byte"] < first["ridge_flop_per_byte"]]
    words = f"On {first['name']} memory limits {'; '.join(bound) or 'none of them'}"
    if found["training"]:
        words += ". Dashed: what each chip of a training run in the ledger reached; its FLOP per byte is not stated"
    return [
        Chart(
            "roofline",
            "Roofline",
            f"Lines: what one chip can compute by how much it does per byte read, at {found['precision']}. Points: "
            f"this workload on {found['model']}. {words}.",
            roofline_chart(found),
            Why(
                f"Weights are read once a step, keys and values once a sequence: a context of "
                f"{count(round(found['context_tokens']))} tokens when decoding, "
                f"{count(round(found['prefill_tokens_per_call']))} uncached prompt tokens a call, both averages of the "
                "replay. Roofs are data-sheet rates; points lie under the roof of the first machine.",
                None,
                why.command,
            ),
        )
    ]


def _point(row: dict[str, Any]) -> dict[str, Any] | None:
    cost, run = _shared(row), row.get("run_e2e_s") or {}
    if row["kind"] != "hardware" or not cost or run.get("p50") is None:
        return None
    return {
        "name": row["title"],
        "seconds": run["p50"],
        "usd": float(cost["mid"]),
        "usd_low": float(cost["low"]),
        "usd_high": float(cost["high"]),
        "confidence": row.get("confidence") or "unknown",
    }


def _row(row: dict[str, Any]) -> list[Cell]:
    shared, refused = _shared(row), row.get("refused") or {}
    middle = shared.get("mid")
    interval = f"{usd(shared['low'])} to {usd(shared['high'])}" if shared else ""
    dedicated = (row.get("cost_usd_by_basis") or {}).get("dedicated")
    return [
        Cell(row["title"]),
        Cell(usd(middle), sort=float(middle or 0)),
        Cell(interval),
        Cell(usd(dedicated), sort=float(dedicated or 0)),
        _time(row, "run_e2e_s"),
        _time(row, "ttft_s"),
        _time(row, "tpot_s"),
        Cell(share(row.get("prefix_hit_rate")), sort=row.get("prefix_hit_rate") or 0.0),
        Cell(share(row.get("busy_share")), sort=row.get("busy_share") or 0.0),
        Cell(count(sum(refused.values())) if refused else "0", sort=float(sum(refused.values())) if refused else 0.0),
        Cell(str(row.get("confidence") or "unknown")),
    ]


def _shared(row: dict[str, Any]) -> dict[str, Any]:
    """Return low, mid and high of a shared fleet's cost; empty where no price is known."""
    found: dict[str, Any] = (row.get("cost_usd_range_by_basis") or {}).get("shared") or {}
    return found if found.get("mid") is not None else {}


def _time(row: dict[str, Any], key: str) -> Cell:
    value = (row.get(key) or {}).get("p50")
    return Cell(seconds(value), sort=float(value or 0))
