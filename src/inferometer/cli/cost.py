"""``inferometer cost``: accounting tables."""

from __future__ import annotations

import click

from inferometer.cli.options import json_option, prices_option, print_json, selection_options, store_option
from inferometer.schema.selection import Selection

BY_HELP = (
    "model, provider, agent, tool (whose results a call was the first to read), run, session, user, purpose, service, "
    "day or attribute:KEY."
)


@click.command("cost")
@click.option("--by", default="model", show_default=True, metavar="KEY", help=BY_HELP)
@prices_option
@store_option
@selection_options
@json_option
def command(
    by: str,
    price_file: str | None,
    store_url: str | None,
    chosen: Selection,
    as_json: bool,
) -> None:
    """Account for tokens and dollars, every call once, by the price list of its day."""
    from inferometer.analyzer.accounting import account
    from inferometer.profiles.prices import load_prices
    from inferometer.store import open_store

    prices = load_prices(price_file)
    with open_store(store_url, create=False) as store:
        accounting = account(store, chosen, by, prices)
    if as_json:
        print_json(accounting.as_dict())
        return
    from inferometer.reports.terminal import print_accounting

    print_accounting(accounting)
