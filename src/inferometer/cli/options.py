"""Options and output that the verbs share."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import wraps
from typing import Any, TypeVar

import click

from inferometer.schema.selection import Selection

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

SCHEMA_VERSION = 1
"""Of the JSON documents; keys may be added without raising it."""

_LAST_NS = 2**63 - 1
"""The year 2262: what a store's column of nanoseconds can hold."""

_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


class Moment(click.ParamType[int]):
    """A point in time: ISO 8601 (UTC where no zone is named), or an age such as ``90m``, ``24h``, ``7d``, ``2w``."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return nanoseconds since 1970; a time beyond what a record can have is the first or last of those."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        try:
            if text[-1:] in _UNITS and text[:-1].isdigit():
                moment = datetime.now(UTC) - int(text[:-1]) * _UNITS[text[-1]]
            else:
                moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is neither a date such as 2026-11-23 nor an age such as 7d", param, ctx)
        since_1970 = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        return min(max(since_1970 // timedelta(microseconds=1) * 1000, -_LAST_NS), _LAST_NS)


def _parse_where(_: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = []
    for value in values:
        key, equals, wanted = value.partition("=")
        if not equals or not key:
            raise click.BadParameter(f"{value!r} is not KEY=VALUE", param=parameter)
        pairs.append((key, wanted))
    return tuple(pairs)


def store_option(command: Command) -> Command:
    """Add ``--store``."""
    return click.option(
        "--store",
        "store_url",
        envvar="INFEROMETER_STORE",
        metavar="URL",
        help="Database URL or SQLite file [default: SQLite in the user's data directory].",
    )(command)


_SELECTION = (
    click.option(
        "--since",
        type=Moment(),
        help="Only what began at or after this time: a date such as 2026-11-23 or 2026-11-23T14:00 (UTC), or an age "
        "such as 90m, 24h or 7d.",
    ),
    click.option("--until", type=Moment(), help="Only what began before this time."),
    click.option(
        "--where",
        multiple=True,
        callback=_parse_where,
        metavar="KEY=VALUE",
        help="Only runs where KEY (model, provider, agent, run, session, user, purpose, service, dialect, source or "
        "tag.NAME) is VALUE; all that are given hold.",
    ),
)


def selection_options(command: Callable[..., Result]) -> Callable[..., Result]:
    """Add ``--since --until --where``; the command takes what they ask for as ``chosen``, a `Selection`."""

    @wraps(command)
    def select(
        since: int | None, until: int | None, where: tuple[tuple[str, str], ...], *words: Any, **options: Any
    ) -> Result:
        return command(*words, chosen=Selection(since, until, where), **options)

    for option in reversed(_SELECTION):
        select = option(select)
    return select


def prices_option(command: Command) -> Command:
    """Add ``--prices``."""
    return click.option(
        "--prices", "price_file", type=click.Path(), metavar="FILE", help="A prices.toml of one's own."
    )(command)


def json_option(command: Command) -> Command:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(command)


def print_json(document: dict[str, Any]) -> None:
    """Print a document to stdout: money as decimal strings, an unknown as null."""
    click.echo(json.dumps({"schema_version": SCHEMA_VERSION, **document}, default=_encode, allow_nan=False))


def _encode(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
