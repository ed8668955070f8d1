"""``inferometer show``: one run as a tree."""

from __future__ import annotations

import click

from inferometer.cli.options import json_option, prices_option, print_json, store_option


@click.command("show")
@click.argument("run_id", metavar="RUN")
@click.option("--why", is_flag=True, help="Say why each call counts or not, and by which list it is priced.")
@prices_option
@store_option
@json_option
def command(run_id: str, why: bool, price_file: str | None, store_url: str | None, as_json: bool) -> None:
    """Show the run whose id begins with RUN as a tree of agents, calls and tools."""
    from inferometer.analyzer.run_tree import load_tree
    from inferometer.profiles.prices import load_prices
    from inferometer.store import open_store

    prices = load_prices(price_file)
    with open_store(store_url, create=False) as store:
        tree = load_tree(store, prices, run_id)
    if as_json:
        print_json(tree.as_dict())
        return
    from inferometer.reports.terminal import print_tree

    print_tree(tree, why=why)
