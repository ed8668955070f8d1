"""``inferometer predict``: TTFT, TPOT and throughput of serving configurations."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from inferometer.cli.options import json_option, print_json

if TYPE_CHECKING:
    from inferometer.analyzer.predict import Prediction


@click.command("predict")
@click.option(
    "--points",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Columns hardware, engine, model, precision, mode, tp, isl, osl, concurrency; pp, dp, moe_tp, moe_ep, "
    "batch_per_replica where known.",
)
@json_option
def command(points: Path, as_json: bool) -> None:
    """Predict TTFT, TPOT and throughput with 80 % intervals, one point a row, in row order."""
    from inferometer.analyzer.predict import predict_rows, read_rows

    rows = read_rows(points)
    predictions = predict_rows(rows)
    if as_json:
        print_json({"points": [asdict(each) for each in predictions]})
        return
    _print_table(rows, predictions)


def _print_table(rows: list[dict[str, str]], predictions: list[Prediction]) -> None:
    from rich.table import Table

    from inferometer.reports.console import open_console

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("#", "configuration", "users", "TTFT ms", "TPOT ms", "tokens/s", "confidence", "reason"):
        table.add_column(name, justify="right" if name in {"#", "users", "TTFT ms", "TPOT ms", "tokens/s"} else "left")
    for number, (row, said) in enumerate(zip(rows, predictions, strict=True), start=1):
        what = " ".join(filter(None, (row["hardware"], row["engine"], row["model"], row["precision"])))
        table.add_row(
            str(number),
            f"{what} tp{row['tp']} {row['isl']}/{row['osl']}",
            row["concurrency"],
            _interval(said.ttft_ms, said.ttft_ms_p10, said.ttft_ms_p90),
            _interval(said.tpot_ms, said.tpot_ms_p10, said.tpot_ms_p90),
            "unknown" if said.output_tokens_per_s is None else f"{said.output_tokens_per_s:,.0f}",
            said.confidence,
            said.reason,
        )
    open_console().print(table)


def _interval(middle: float | None, low: float | None, high: float | None) -> str:
    if middle is None:
        return "unknown"
    return f"{middle:,.1f} ({low:,.1f}-{high:,.1f})"
