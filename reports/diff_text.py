"""Two audits compared, as Markdown for a pull request and as text for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from rich.table import Table

from inferometer.reports.console import open_console
from inferometer.reports.numbers import UNKNOWN, bounded, count, share, times, tokens, usd
from inferometer.schema.wording import counted

Row = tuple[str, str, str, str]


def _shown(value: float | None, unit: str) -> str:
    shows = {"usd": usd, "share": share, "ratio": times, "tokens": tokens}
    return shows.get(unit, count)(value)


def figure_rows(document: Mapping[str, Any]) -> list[Row]:
    """Return title, before, after and change of each figure."""
    rows = []
    for figure in document["figures"]:
        part = figure["change_share"]
        change = UNKNOWN if figure["change"] is None else "0 %" if not figure["change"] else _signed_share(part)
        mark = {True: " (better)", False: " (worse)", None: ""}[figure["better"]]
        unit = figure["unit"]
        rows.append((figure["title"], _shown(figure["before"], unit), _shown(figure["after"], unit), change + mark))
    return rows


def _signed_share(part: float | None) -> str:
    if part is None:
        return "new"
    return f"{part + 1:,.0f}×" if part >= 9 else f"{part * 100:+.1f} %".replace("-", "−")


def bridge_rows(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the steps of the bridge that are not nothing."""
    return [
        (step["title"], _step(step))
        for step in document["bridge"]
        if float(step["amount_usd"]) or step["step"] in {"start", "end"}
    ]


def _step(step: Mapping[str, Any]) -> str:
    text = usd(step["amount_usd"])
    return f"+{text}" if float(step["amount_usd"]) > 0 and step["step"] not in {"start", "end"} else text


def waste_rows(document: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return what waste came, went or stayed."""
    return [
        (row["title"], row["state"], _amount(row["before_usd"]), _amount(row["after_usd"])) for row in document["waste"]
    ]


def _amount(value: Any) -> str:
    return "" if value is None else usd(value)


def headline(document: Mapping[str, Any]) -> str:
    """Return the comparison in a sentence."""
    before, after = (
        f"{bounded(side['cost_usd'], side['unpriced'])} for {counted(side['runs'], 'run')}"
        for side in (document["before"], document["after"])
    )
    return f"{before} became {after}."


def diff_markdown(document: Mapping[str, Any]) -> str:
    """Return the comparison as Markdown."""
    lines = ["### Inference cost", "", headline(document), ""]
    lines += _markdown_table(("", "before", "after", "change"), figure_rows(document))
    lines += ["", "<details><summary>Why the bill changed</summary>", ""]
    lines += _markdown_table(("step", "US dollars"), bridge_rows(document))
    lines += ["", "</details>"]
    if document["waste"]:
        lines += ["", "<details><summary>Waste</summary>", ""]
        lines += _markdown_table(("", "", "before", "after"), waste_rows(document))
        lines += ["", "</details>"]
    return "\n".join(lines) + "\n"


def _markdown_table(header: tuple[str, ...], rows: list[Any]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(header), "| --- |" + " ---: |" * (len(header) - 1), *(line(tuple(row)) for row in rows)]


def print_diff(document: Mapping[str, Any], stream: TextIO | None = None) -> None:
    """Print the comparison."""
    console = open_console(stream)
    console.print(headline(document), markup=False)
    for header, rows in (
        (("", "before", "after", "change"), figure_rows(document)),
        (("why the bill changed", "US dollars"), bridge_rows(document)),
        (("waste", "", "before", "after"), waste_rows(document)),
    ):
        if not rows:
            continue
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for index, title in enumerate(header):
            table.add_column(title, justify="left" if index == 0 else "right")
        for row in rows:
            table.add_row(*(cell.replace("[", r"\[") for cell in row))
        console.print()
        console.print(table)
