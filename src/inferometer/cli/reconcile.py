"""``inferometer reconcile``: a provider's bill beside the traced meters."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

import click

from inferometer.cli.options import json_option, prices_option, print_json, selection_options, store_option
from inferometer.schema.selection import Selection


def parse_rate(_: click.Context, parameter: click.Parameter, value: str | None) -> Decimal | None:
    """Return a rate above 0."""
    try:
        rate = None if value is None else Decimal(value)
    except InvalidOperation as error:
        raise click.BadParameter(f"{value!r} is not a number", param=parameter) from error
    if rate is not None and not rate > 0:
        raise click.BadParameter(f"{value} is not above 0", param=parameter)
    return rate


@click.command("reconcile")
@click.option(
    "--bill",
    "bill_files",
    multiple=True,
    required=True,
    type=click.Path(),
    metavar="FILE",
    help="OpenAI or Anthropic usage and cost exports (JSON), FOCUS or AWS reports (CSV); repeatable.",
)
@click.option("--rate", callback=parse_rate, metavar="USD", help="US dollars for one unit of the bill's currency.")
@prices_option
@store_option
@selection_options
@json_option
def command(
    bill_files: tuple[str, ...],
    rate: Decimal | None,
    price_file: str | None,
    store_url: str | None,
    chosen: Selection,
    as_json: bool,
) -> None:
    """Set provider bills beside the traces, by day and model: matched, untraced, over-traced, price difference."""
    from inferometer.analyzer.audit_dataset import load_dataset
    from inferometer.analyzer.reconcile import reconcile
    from inferometer.analyzer.reconcile_bill import read_bill
    from inferometer.profiles.prices import load_prices
    from inferometer.store import open_store

    bills = [read_bill(path, rate) for path in bill_files]
    prices = load_prices(price_file)
    with open_store(store_url, create=False) as store:
        dataset = load_dataset(store, chosen, prices, with_prefix=False)
    document = reconcile(dataset.calls, bills)
    if as_json:
        print_json(document)
        return
    from inferometer.reports.audit_terminal import print_reconciliation

    print_reconciliation(document)
