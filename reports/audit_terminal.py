"""The audit on a terminal: its first screen in text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.table import Table

from inferometer.reports.chapters.summary import beside_the_bill, joint_ids, summary
from inferometer.reports.console import open_console
from inferometer.reports.evidence import shortened
from inferometer.reports.numbers import bounded, count, seconds, share, usd
from inferometer.schema.wording import counted


def print_audit(document: Mapping[str, Any], stream: TextIO, written: Sequence[str] = ()) -> None:
    """Print the summary of an audit, its first recommendations and findings, and the files that were written."""
    console = open_console(stream)
    page = summary(document)
    console.print(page.reconciliation, style=None if page.reconciled else "yellow", markup=False)
    for answer in page.answers:
        console.print(answer.text, markup=False)
    for warning in page.warnings:
        console.print(warning, style="red", markup=False)
    console.print()
    figures = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    figures.add_column()
    figures.add_column(justify="right", style="bold")
    figures.add_column(style="dim")
    for figure in page.figures:
        figures.add_row(*map(_plain, (figure.label, figure.value, figure.note)))
    console.print(figures)
    for title, table in (("What to do", _actions(document)), ("What bought nothing", _waste(document))):
        if table.row_count:
            console.print(f"\n[bold]{title}[/bold]")
            console.print(table)
    for path in written:
        console.print(f"\nwritten: {path}", markup=False)


def _plain(text: str) -> str:
    """Return text in which nothing is markup."""
    return text.replace("[", r"\[")


def _table(*columns: tuple[str, bool]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title, numeric in columns:
        table.add_column(title, justify="right" if numeric else "left")
    return table


def _actions(document: Mapping[str, Any]) -> Table:
    table = _table(("", False), ("saves", True), ("of the bill", True), ("low to high", False), ("effort", False))
    chosen = joint_ids(document)
    for found in document["recommendations"][:8]:
        saving = found["saving_usd"]
        mark = "* " if found["id"] in chosen else "  "
        table.add_row(
            mark + _plain(found["title"]),
            usd(saving["mid"]),
            share(found["saving_share"]),
            f"{usd(saving['low'])} to {usd(saving['high'])}",
            _plain(found["effort"]),
        )
    return table


def _waste(document: Mapping[str, Any]) -> Table:
    table = _table(("", False), ("calls", True), ("cost", True))
    for found in document["waste"][:8]:
        cost = bounded(found["cost_usd"], found["unpriced"])
        if found["cost_usd"] is None and found["duration_s"] is not None:
            cost = seconds(found["duration_s"])
        table.add_row("  " + _plain(found["title"]), count(found["calls"]), cost)
    return table


def print_listing(document: Mapping[str, Any], stream: TextIO | None = None) -> None:
    """Print the calls behind a figure."""
    console = open_console(stream)
    calls = document["calls"]
    console.print(f"{document['title']}: {counted(len(calls), 'call')}, the costliest first", markup=False)
    table = _table(("Call", False), ("Run", False), ("Tokens", True), ("Dollars", True), ("What", False))
    for call in calls:
        cost = bounded(call["cost_usd"], int(call["cost_usd"] is None))
        run = str(call["run_id"] or "none")
        table.add_row(call["span_id"], run, count(call["tokens"]), cost, _plain(shortened(str(call["note"]), 160)))
    console.print(table)


def print_reconciliation(document: Mapping[str, Any], stream: TextIO | None = None) -> None:
    """Print how far the traces cover the bill, by model."""
    console = open_console(stream)
    console.print(
        f"{share(document['traced_share'])} of the bill is traced: {usd(document['traced_usd'])} of "
        f"{usd(document['billed_usd'])}.",
        markup=False,
    )
    if document["note"]:
        console.print(f"Note: {document['note']}.", style="yellow", markup=False)
    for words in beside_the_bill(document):
        console.print(words, markup=False)
    table = _table(
        *(("Model", False), ("billed", True), ("traced", True), ("untraced", True), ("over-traced", True)),
        ("price difference", True),
    )
    for row in document["models"]:
        keys = ("billed_usd", "traced_usd", "untraced_usd", "over_traced_usd", "price_difference_usd")
        table.add_row(_plain(row["model"]), *(usd(row[key]) if row[key] is not None else "" for key in keys))
    console.print(table)
