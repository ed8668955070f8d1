"""``inferometer store``: upkeep."""

from __future__ import annotations

from typing import Any

import click

from inferometer.cli.options import Moment, json_option, print_json, store_option
from inferometer.schema.wording import counted


@click.group("store")
def command() -> None:
    """Look after the store."""


@command.command("info")
@store_option
@json_option
def info(store_url: str | None, as_json: bool) -> None:
    """Say what the store holds."""
    from inferometer.store import open_store
    from inferometer.store.upkeep import describe

    with open_store(store_url, create=False) as store:
        found = describe(store)
    if as_json:
        print_json(found.as_dict())
        return
    from inferometer.reports.terminal import show_count, show_time

    size = "unknown" if found.bytes is None else f"{found.bytes / 1e6:,.1f} MB"
    click.echo(f"{found.store}: {found.database}, revision {found.revision}, {size}")
    for name, count in found.rows.items():
        click.echo(f"{name.replace('_', ' '):16} {show_count(count):>12}")
    click.echo(
        f"from {show_time(found.first_ns)} to {show_time(found.last_ns)} (UTC), {counted(found.open_runs, 'run')} open"
    )
    for dialect, count in sorted(found.dialects.items(), key=lambda pair: -pair[1]):
        click.echo(f"  {dialect}: {counted(count, 'span')}")


@command.command("migrate")
@store_option
@json_option
def migrate(store_url: str | None, as_json: bool) -> None:
    """Bring the store to this version; every command that opens it does so too."""
    from inferometer.store import open_store
    from inferometer.store.migration import HEAD

    with open_store(store_url) as store:
        before, name = store.revision_before, store.name
    if as_json:
        print_json({"store": name, "before": before, "revision": HEAD})
    elif before == HEAD:
        click.echo(f"{name}: at revision {HEAD}, nothing to do")
    else:
        click.echo(f"{name}: {'new' if before is None else f'was at revision {before}'}, now at revision {HEAD}")


@command.command("backup")
@click.argument("target", metavar="FILE", type=click.Path(dir_okay=False))
@store_option
@json_option
def backup(target: str, store_url: str | None, as_json: bool) -> None:
    """Copy the store into a new FILE, also while it is being written."""
    from inferometer.store import open_store
    from inferometer.store.upkeep import back_up

    with open_store(store_url, create=False) as store:
        size = back_up(store, target)
    if as_json:
        print_json({"file": target, "bytes": size})
    else:
        click.echo(f"{target}: {size / 1e6:,.1f} MB")


@command.command("purge")
@click.option("--user", "users", multiple=True, metavar="ID", help="All of this user's, by their id or its pseudonym.")
@click.option("--session", "sessions", multiple=True, metavar="ID", help="All of this session's.")
@click.option("--run", "runs", multiple=True, metavar="RUN", help="This run, by the beginning of its id.")
@click.option("--before", "before_ns", type=Moment(), help="All that began before this time; what has no date stays.")
@store_option
@json_option
def purge(
    users: tuple[str, ...],
    sessions: tuple[str, ...],
    runs: tuple[str, ...],
    before_ns: int | None,
    store_url: str | None,
    as_json: bool,
) -> None:
    """Erase runs for good: records, prefix hashes, and their traces in the file's free pages and log."""
    from inferometer.ingest.users import current_key, hashed_user
    from inferometer.store import open_store, upkeep

    # who asks to be forgotten knows their id and not what it was stored as
    pseudonyms = [pseudonym for user in users if (pseudonym := hashed_user(user, current_key()))]
    with open_store(store_url, create=False) as store:
        ids = [store.find_run(run).run_id for run in runs]
        erased = upkeep.purge(store, users=[*users, *pseudonyms], sessions=sessions, runs=ids, before_ns=before_ns)
    if as_json:
        print_json(erased.as_dict())
    else:
        _print_counts("erased", erased.as_dict())


@command.command("reprocess")
@click.option("--all", "everything", is_flag=True, help="Also records that this version has read already.")
@store_option
@json_option
def reprocess(everything: bool, store_url: str | None, as_json: bool) -> None:
    """Read old records again as this version reads them, decide again, and say what changed."""
    from inferometer.ingest.reprocess import reprocess as read_again
    from inferometer.store import open_store

    with open_store(store_url, create=False) as store:
        changes = read_again(store, everything=everything)
    if as_json:
        print_json(changes.as_dict())
        return
    _print_counts("read again", {"traces": changes.traces, "spans": changes.spans})
    for line in changes.lines():
        click.echo(line)


def _nouns(name: str) -> tuple[str, str]:
    """Return the name of a count, which is in plural, for one of it and for many."""
    many = name.replace("_", " ")
    return many.removesuffix("s"), many


def _print_counts(what: str, counts: dict[str, Any]) -> None:
    shown = [counted(count, *_nouns(name)) for name, count in counts.items() if count]
    click.echo(f"{what}: {', '.join(shown) or 'nothing'}")
