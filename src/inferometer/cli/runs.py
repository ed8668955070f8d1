"""``inferometer runs``: the list of runs."""

from __future__ import annotations

import click

from inferometer.cli.options import json_option, print_json, selection, selection_options, store_option


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
@store_option
@selection_options
@json_option
def command(
    sort: str,
    search: str | None,
    limit: int | None,
    store_url: str | None,
    since: int | None,
    until: int | None,
    where: tuple[tuple[str, str], ...],
    as_json: bool,
) -> None:
    """List runs with their cost, tokens and duration."""
    from inferometer.analyzer.runs import list_runs
    from inferometer.profiles.prices import load_prices
    from inferometer.store import open_store

    with open_store(store_url, create=False) as store:
        found = list_runs(store, load_prices(), selection(since, until, where), sort=sort, search=search)
    shown = found[:limit]
    if as_json:
        print_json({"runs": [summary.as_dict() for summary in shown], "of": len(found)})
        return
    from inferometer.reports.terminal import print_runs

    print_runs(shown, len(found))
