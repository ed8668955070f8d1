"""``inferometer audit``: the report, as HTML, JSON and on the terminal."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from inferometer.cli.options import prices_option, selection_options, store_option
from inferometer.cli.output import OutputFile, write_whole
from inferometer.cli.reconcile import parse_rate
from inferometer.schema.selection import Selection

if TYPE_CHECKING:
    from inferometer.analyzer.audit import Knowledge
    from inferometer.analyzer.audit_dataset import Dataset
    from inferometer.profiles.prices import PriceList
    from inferometer.reports.evidence import Links
    from inferometer.store import Store


@contextmanager
def collection_paused() -> Iterator[None]:
    """Leave garbage collection out: it takes a third of an audit, which makes many objects and no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse_trace_url(_: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    from inferometer.reports.evidence import TRACE_FIELDS

    if value is None:
        return None
    if not value.lower().startswith(("https://", "http://")):
        raise click.BadParameter(f"{value!r} does not begin with https:// or http://", param=parameter)
    if not any(name in value for name in TRACE_FIELDS):
        names = f"{', '.join(TRACE_FIELDS[:-1])} or {TRACE_FIELDS[-1]}"
        raise click.BadParameter(f"{value!r} names no call: put {names} in it", param=parameter)
    return value


@click.command("audit")
@click.option("--ledger", "ledger_file", type=click.Path(), metavar="FILE", help="A ledger.toml: training, contracts.")
@click.option(
    "--bill", "bill_files", multiple=True, type=click.Path(), metavar="FILE", help="A provider's bill or usage."
)
@click.option("--rate", callback=parse_rate, metavar="USD", help="US dollars for one unit of the bill's currency.")
@click.option("--html", "html_file", type=OutputFile(), metavar="FILE", help="Write the report as one HTML file.")
@click.option(
    "--json",
    "json_file",
    type=OutputFile(allow_dash=True),
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Write the document [default: stdout].",
)
@click.option("--focus", "focus_file", type=OutputFile(), metavar="FILE", help="Write the calls as FOCUS 1.2 rows.")
@click.option("--redact", is_flag=True, help="Replace names of agents, tools, sessions, users and tags.")
@click.option(
    "--model", "stand_in", metavar="NAME", help="Open model to replay on [default: the one used, else a stand-in]."
)
@click.option("--replay/--no-replay", "with_replay", default=True, help="Replay the calls on other hardware.")
@click.option(
    "--trace-url",
    callback=_parse_trace_url,
    metavar="URL",
    help="Link to your tracing UI, with {trace_id}, {span_id} or {run_id} in it.",
)
@prices_option
@click.option(
    "--list", "listed", metavar="ID", help="Only list every call behind a figure, by the id that the report names."
)
@store_option
@selection_options
@collection_paused()
def command(
    ledger_file: str | None,
    bill_files: tuple[str, ...],
    rate: Decimal | None,
    html_file: str | None,
    json_file: str | None,
    focus_file: str | None,
    redact: bool,
    stand_in: str | None,
    with_replay: bool,
    trace_url: str | None,
    price_file: str | None,
    listed: str | None,
    store_url: str | None,
    chosen: Selection,
) -> None:
    """Audit what inference costs: where money goes, what is wasted, how it stands against training, what to do."""
    from inferometer.analyzer.audit import build_audit
    from inferometer.analyzer.audit_dataset import load_dataset
    from inferometer.analyzer.audit_knowledge import knowledge_of
    from inferometer.analyzer.audit_scenarios import replay_audit
    from inferometer.analyzer.ledger import Ledger, load_ledger
    from inferometer.analyzer.reconcile import reconcile
    from inferometer.analyzer.reconcile_bill import read_bill
    from inferometer.profiles.prices import load_prices
    from inferometer.store import open_store

    ledger = load_ledger(ledger_file) if ledger_file else Ledger()
    bills = [read_bill(path, rate) for path in bill_files]
    prices = load_prices(price_file)
    with open_store(store_url, create=False) as store:
        dataset = load_dataset(store, chosen, prices)
        if listed is not None:
            _list(dataset, knowledge_of(prices, ledger), listed, json_file)
            return
        replayed = replay_audit(dataset, ledger, stand_in, store) if with_replay else None
        document = build_audit(
            dataset,
            knowledge_of(prices, ledger),
            generated_at=datetime.now(UTC),
            replayed=replayed,
            reconciliation=reconcile(dataset.calls, bills) if bills else None,
            window=(chosen.since_ns, chosen.until_ns),
            where=chosen.where,
        )
        if focus_file:
            _save_focus(store, chosen, prices, focus_file)
    stated = [
        *_options("--ledger", ledger_file),
        *_options("--model", stand_in),
        *([] if with_replay else ["--no-replay"]),
    ]
    bill_words = [*_options("--bill", *bill_files), *_options("--rate", None if rate is None else str(rate))]
    if redact:
        from inferometer.analyzer.audit_redaction import redacted

        document = redacted(document)
        store_url = price_file = None
        stated = bill_words = []
    from inferometer.reports.commands import Commands, selection_words
    from inferometer.reports.evidence import Links

    commands = Commands(store_url, selection_words(document["window"]), price_file, stated, bill_words)
    _write(document, html_file, json_file, Links(trace_url, commands))


def _options(name: str, *values: str | None) -> list[str]:
    return [word for value in values if value for word in (name, value)]


def _list(dataset: Dataset, knowledge: Knowledge, id_: str, json_file: str | None) -> None:
    from inferometer.analyzer.audit_listing import list_calls

    document = list_calls(dataset, knowledge, id_).as_dict()
    if json_file is None:
        from inferometer.reports.audit_terminal import print_listing

        print_listing(document)
        return
    from inferometer.reports.document import document_text

    with write_whole(json_file) as stream:
        stream.write(document_text({"schema_version": 1, **document}) + "\n")


def _write(document: dict[str, Any], html_file: str | None, json_file: str | None, links: Links) -> None:
    if html_file:
        from inferometer.reports.html import render_audit

        _save(html_file, render_audit(document, links))
    if json_file:
        from inferometer.reports.document import document_text

        text = document_text(document)
        if json_file == "-":
            click.echo(text)
            return
        _save(json_file, text + "\n")
    from inferometer.reports.audit_terminal import print_audit

    print_audit(document, sys.stdout, [path for path in (html_file, json_file) if path])


def _save_focus(store: Store, chosen: Selection, prices: PriceList, path: str) -> None:
    from inferometer.exporters.focus import write_focus

    with write_whole(path) as stream:
        written = write_focus(store, chosen, prices, stream)
    if written.undated or written.unpriced:
        words = f"{written.undated:,} without a date and {written.unpriced:,} without a price"
        click.echo(f"{path}: calls and charges left out: {words}", err=True)


def _save(path: str, text: str) -> None:
    with write_whole(path) as stream:
        stream.write(text)
