"""``inferometer runs``: the list of runs."""

from __future__ import annotations

import click

from inferometer.cli.options import json_option, prices_option, print_json, selection_options, store_option
from inferometer.schema.selection import Selection

FEW = 200
"""Runs that are read one by one rather than all runs at once."""


@click.command("runs")
@click.option(
    "--sort",
    default="start",
    show_default=True,
    metavar="ORDER",
    help="start (latest first), cost, tokens, duration, inferences or tools (largest first).",
)
@click.option("--search", metavar="TEXT", help="Only runs whose id, name, agent, session, user or model holds TEXT.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N runs.")
@prices_option
@store_option
@selection_options
@json_option
def command(
    sort: str,
    search: str | None,
    limit: int | None,
    price_file: str | None,
    store_url: str | None,
    chosen: Selection,
    as_json: bool,
) -> None:
    """List runs with their cost, tokens and duration."""
    from inferometer.analyzer.runs import list_latest_runs, list_runs
    from inferometer.profiles.prices import load_prices
    from inferometer.store import open_store

    prices = load_prices(price_file)
    with open_store(store_url, create=False) as store:
        if limit is not None and limit <= FEW and sort == "start" and search is None:
            shown, of = list_latest_runs(store, prices, chosen, limit)
        else:
            found = list_runs(store, prices, chosen, sort=sort, search=search)
            shown, of = found[:limit], len(found)
    if as_json:
        print_json({"runs": [summary.as_dict() for summary in shown], "of": of})
        return
    from inferometer.reports.terminal import print_runs

    print_runs(shown, of, search=search)
