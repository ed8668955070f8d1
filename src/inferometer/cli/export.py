"""``inferometer export``: the store's records in another format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inferometer.cli.options import json_option, prices_option, print_json, selection_options, store_option
from inferometer.cli.output import OutputFile, write_whole
from inferometer.schema.errors import UnknownNameError, UserError
from inferometer.schema.selection import Selection

if TYPE_CHECKING:
    from inferometer.store import Store

FORMATS = {
    # name: (what it writes, whether into a folder)
    "mooncake": ("JSON lines", False),
    "agentic-mooncake": ("JSON lines", False),
    "weka": ("one JSON file a session", True),
    "otlp": ("OTLP/JSON lines", False),
    "parquet": ("one file a table", True),
    "focus": ("CSV", False),
}


@click.command("export")
@click.option("--to", "format_name", required=True, metavar="FORMAT", help=", ".join(FORMATS) + ".")
@click.option("--out", "target", metavar="PATH", help="File, or folder for weka and parquet [default: stdout].")
@prices_option
@store_option
@selection_options
@json_option
def command(
    format_name: str,
    target: str | None,
    price_file: str | None,
    store_url: str | None,
    chosen: Selection,
    as_json: bool,
) -> None:
    """Write the selected records in another format."""
    from inferometer.store import open_store

    if format_name not in FORMATS:
        raise UnknownNameError("format", format_name, FORMATS)
    into_folder, target = FORMATS[format_name][1], None if target == "-" else target
    if into_folder and target is None:
        raise UserError(f"--to {format_name} writes {FORMATS[format_name][0]}: name a folder with --out")
    if as_json and target is None:
        raise UserError("--json prints a summary to stdout: name where the export goes with --out")
    if target is not None:
        kind = click.Path(file_okay=False, writable=True) if into_folder else OutputFile()
        target = str(kind.convert(target, None, None))
    with open_store(store_url, create=False) as store:
        counts = _export(store, chosen, format_name, target, price_file)
    if as_json:
        print_json({"format": format_name, "out": target, "counts": counts})
        return
    lost = any(count for name, count in counts.items() if name.endswith("left_out"))
    if target is not None or lost:
        shown = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())
        click.echo(f"{target or 'stdout'}: {shown}", err=target is None)


def _export(
    store: Store, chosen: Selection, format_name: str, target: str | None, price_file: str | None
) -> dict[str, int]:
    from inferometer.profiles.prices import load_prices

    if format_name == "weka":
        from inferometer.exporters.weka import write_weka

        written = write_weka(store, chosen, Path(str(target)))
        return {"sessions": written.sessions, "calls": written.calls, "calls_left_out": written.left_out}
    if format_name == "parquet":
        from inferometer.exporters.parquet import write_parquet

        return write_parquet(store, chosen, load_prices(price_file), Path(str(target)))
    with write_whole(target or "-") as stream:
        if format_name == "focus":
            from inferometer.exporters.focus import write_focus

            found = write_focus(store, chosen, load_prices(price_file), stream)
            return {"rows": found.rows, "undated_left_out": found.undated, "unpriced_left_out": found.unpriced}
        if format_name == "otlp":
            from inferometer.exporters.otlp_file import write_otlp

            return {"spans": write_otlp(store, chosen, stream)}
        from inferometer.exporters.mooncake import write_mooncake

        return write_mooncake(store, chosen, stream, agentic=format_name == "agentic-mooncake")
