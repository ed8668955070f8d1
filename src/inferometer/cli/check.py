"""``inferometer check``: fail a build where a budget is broken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from inferometer.cli.options import json_option, prices_option, print_json, selection_options, store_option
from inferometer.schema.selection import Selection


@click.command("check")
@click.option("--budget", "budget_file", required=True, type=click.Path(), metavar="FILE", help="A budget.toml.")
@click.option("--baseline", "baseline_file", type=click.Path(), metavar="AUDIT.json", help="The audit to compare with.")
@click.option("--audit", "audit_file", type=click.Path(), metavar="AUDIT.json", help="Check this audit, not the store.")
@click.option("--ledger", "ledger_file", type=click.Path(), metavar="FILE", help="A ledger.toml, for a limit on ratio.")
@prices_option
@store_option
@selection_options
@json_option
def command(
    budget_file: str,
    baseline_file: str | None,
    audit_file: str | None,
    ledger_file: str | None,
    price_file: str | None,
    store_url: str | None,
    chosen: Selection,
    as_json: bool,
) -> int:
    """Hold the traces against a budget; exit code 1 where it is broken, with what is over and by how much."""
    from inferometer.analyzer.budget import check, load_audit, load_budget

    limits = load_budget(budget_file)
    baseline = load_audit(baseline_file) if baseline_file else None
    document = load_audit(audit_file) if audit_file else _audit(ledger_file, price_file, store_url, chosen)
    verdicts = check(limits, document, baseline)
    broken = [verdict for verdict in verdicts if verdict.ok is False]
    if as_json:
        print_json({"ok": not broken, "verdicts": [verdict.as_dict() for verdict in verdicts]})
        return int(bool(broken))
    from inferometer.reports.commands import Commands, selection_words

    commands = Commands(None if audit_file else store_url, selection_words(document["window"]), price_file)
    for verdict in verdicts:
        mark = {True: "ok     ", False: "BROKEN ", None: "unknown"}[verdict.ok]
        click.echo(f"{mark} {verdict.message}")
        if verdict.ok is False:
            click.echo(f"        see: {commands.reading(verdict.limit.figure.command)}")
    unchecked = sum(verdict.ok is None for verdict in verdicts)
    click.echo(
        (f"{len(broken)} of {len(verdicts)} budgets are broken" if broken else "No budget is broken")
        + (f"; {unchecked} could not be checked." if unchecked else ".")
    )
    return int(bool(broken))


def _audit(
    ledger_file: str | None,
    price_file: str | None,
    store_url: str | None,
    chosen: Selection,
) -> dict[str, Any]:
    from inferometer.analyzer.audit import build_audit
    from inferometer.analyzer.audit_dataset import load_dataset
    from inferometer.analyzer.audit_knowledge import knowledge_of
    from inferometer.analyzer.ledger import Ledger, load_ledger
    from inferometer.profiles.prices import load_prices
    from inferometer.store import open_store

    ledger = load_ledger(ledger_file) if ledger_file else Ledger()
    prices = load_prices(price_file)
    with open_store(store_url, create=False) as store:
        dataset = load_dataset(store, chosen, prices)
        return build_audit(
            dataset,
            knowledge_of(prices, ledger),
            generated_at=datetime.now(UTC),
            window=(chosen.since_ns, chosen.until_ns),
            where=chosen.where,
        )
