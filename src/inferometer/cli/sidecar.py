"""``inferometer sidecar``: receive OTLP into the store."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from inferometer.cli.options import store_option
from inferometer.profiles.toml import read_toml
from inferometer.schema.errors import ProfileError, UnknownNameError, UserError
from inferometer.sidecar.settings import CONTENT_CHOICES, DEFAULT_GRPC, DEFAULT_HTTP, Budget, Forward, Settings

_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_KINDS = {"text": str, "a number": (int, float), "a number or text": (int, float, str), "a table": dict}
_FORWARD_KEYS = {
    **dict.fromkeys(("url", "ca", "cert", "key"), "text"),
    **{"headers": "a table", "max_backlog_bytes": "a number or text", "timeout_s": "a number"},
}
_BUDGET_KEYS = {"name": "text", "usd_per_day": "a number or text", "where": "a table", "webhook": "text"}
_SPANS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class Size(click.ParamType[int]):
    """A number of bytes: ``67108864``, ``64MiB``, ``4G``."""

    name = "size"

    def __init__(self, least: int = 0) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int) and not isinstance(value, bool):
            return self._bounded(value, value, param, ctx)
        text = str(value).strip().lower().removesuffix("ib").removesuffix("b")
        number, unit = (text[:-1], text[-1:]) if text[-1:] in set(_SIZES) - {""} else (text, "")
        try:
            size = int(Decimal(number) * _SIZES[unit])
        except (ArithmeticError, ValueError):
            self.fail(f"{value!r} is not a size such as 64MiB", param, ctx)
        return self._bounded(size, value, param, ctx)

    def _bounded(self, size: int, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if size < self._least:
            self.fail(f"{value!r} is less than {self._least}", param, ctx)
        return size


class Duration(click.ParamType[int]):
    """Seconds: ``90s``, ``15m``, ``24h``, ``30d``, ``4w``."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return seconds."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        text = str(value).strip().lower()
        if text[-1:] not in _SPANS or not text[:-1].isdecimal():
            self.fail(f"{value!r} is not a duration such as 30d", param, ctx)
        return int(text[:-1]) * _SPANS[text[-1]]


class Amount(click.ParamType[Decimal]):
    """US dollars."""

    name = "usd"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Return the amount."""
        try:
            amount = Decimal(str(value))
        except ArithmeticError:
            self.fail(f"{value!r} is not an amount of US dollars", param, ctx)
        if not amount.is_finite() or amount < 0:
            self.fail(f"{value!r} is not an amount of US dollars", param, ctx)
        return amount


def _load_file(ctx: click.Context, parameter: click.Parameter, path: Path | None) -> Path | None:
    """Make a configuration file's keys the defaults of the flags; flags and environment win."""
    if path is None:
        return None
    document = read_toml(path)
    ctx.ensure_object(dict).update({key: document.pop(key) for key in ("forward", "budget") if key in document})
    known = {one.name for one in ctx.command.params if one.name} - {"config", "print_config", "quarantine"}
    for key, value in list(document.items()):
        if key == "store":
            document["store_url"] = document.pop(key)
        elif key not in known:
            raise UnknownNameError("setting", key, known | {"store", "forward", "budget"} - {"store_url"})
        elif isinstance(value, (dict, bytes)):
            raise ProfileError(str(path), f"{key} is not a table")
    ctx.default_map = {**(ctx.default_map or {}), **document}
    return path


def _pairs(values: dict[str, Any] | tuple[str, ...], option: str) -> tuple[tuple[str, str], ...]:
    if isinstance(values, dict):
        return tuple((str(key), str(value)) for key, value in values.items())
    found = []
    for value in values:
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise UserError(f"{option} {value!r} is not KEY=VALUE")
        found.append((key, text))
    return tuple(found)


def _tables(ctx: click.Context, name: str, kinds: dict[str, str]) -> list[dict[str, Any]]:
    tables = (ctx.obj or {}).get(name, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UserError(f"[[{name}]] is a list of tables")
    for table in tables:
        for key, value in table.items():
            if key not in kinds:
                raise UnknownNameError(f"key of [[{name}]]", key, kinds)
            if not isinstance(value, _KINDS[kinds[key]]) or isinstance(value, bool):  # type: ignore[arg-type]
                raise UserError(f"[[{name}]] {key} has to be {kinds[key]}")
    return tables


def _forwards(ctx: click.Context, urls: tuple[str, ...], headers: tuple[str, ...]) -> tuple[Forward, ...]:
    found = [Forward(url, _pairs(headers, "--forward-header")) for url in urls]
    for table in _tables(ctx, "forward", _FORWARD_KEYS):
        values = dict(table)
        if "url" not in values:
            raise UserError("a [[forward]] has no url")
        values["headers"] = _pairs(values.get("headers", {}), "headers")
        if "max_backlog_bytes" in values:
            values["max_backlog_bytes"] = Size().convert(values["max_backlog_bytes"], None, ctx)
        found.append(Forward(**values))
    return tuple(found)


def _budgets(ctx: click.Context) -> tuple[Budget, ...]:
    found = []
    for table in _tables(ctx, "budget", _BUDGET_KEYS):
        if "usd_per_day" not in table:
            raise UserError("a [[budget]] has no usd_per_day")
        amount = Amount().convert(table["usd_per_day"], None, ctx)
        where = _pairs(table.get("where", {}), "where")
        name = str(table.get("name") or ", ".join(f"{key}={value}" for key, value in where) or "all")
        found.append(Budget(name, amount, where, table.get("webhook")))
    return tuple(found)


def _show_quarantine(path: Path, *, retry: bool) -> None:
    from datetime import UTC, datetime

    from inferometer.store.journal import STORE_CONSUMER, Journal

    if not path.exists():
        raise UserError(f"{path}: there is no journal, so nothing is in quarantine")
    with contextlib.closing(Journal(path)) as journal:
        kept = journal.quarantined()
        for one in kept:
            moment = datetime.fromtimestamp(one.quarantined_ns // 1_000_000_000, UTC).isoformat()
            size = "no body kept" if one.body is None else f"{len(one.body):,} bytes"
            click.echo(
                f"{one.quarantine_id}  {moment}  {one.consumer}  {one.signal}  {one.items} items  {size}  {one.reason}"
            )
        if retry:
            number = journal.requeue([one.quarantine_id for one in kept if one.consumer == STORE_CONSUMER])
            click.echo(f"{number} requests put into the journal again; a running sidecar takes them now")
        elif not kept:
            click.echo("nothing is in quarantine")


@click.command(
    "sidecar", help="Receive OTLP into the store.", context_settings={"auto_envvar_prefix": "INFEROMETER_SIDECAR"}
)
@store_option
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    callback=_load_file,
    metavar="FILE",
    help="TOML file with these settings; flags and INFEROMETER_SIDECAR_* win.",
)
@click.option("--grpc", default=DEFAULT_GRPC, show_default=True, metavar="HOST:PORT", help="OTLP/gRPC; off for none.")
@click.option("--http", default=DEFAULT_HTTP, show_default=True, metavar="HOST:PORT", help="OTLP/HTTP; off for none.")
@click.option("--journal", metavar="FILE", help="Journal file [default: beside the store].")
@click.option(
    "--content",
    type=click.Choice(CONTENT_CHOICES),
    default="drop",
    show_default=True,
    help="What people and models said: dropped once counted, dropped before it reaches the disk, or kept.",
)
@click.option("--token", metavar="TEXT", help="Bearer token that senders must show.")
@click.option("--tls-cert", metavar="FILE", help="Certificate of this server.")
@click.option("--tls-key", metavar="FILE", help="Key of the certificate.")
@click.option("--tls-client-ca", metavar="FILE", help="Mutual TLS: senders need a certificate of this CA.")
@click.option("--insecure", is_flag=True, help="Listen beyond this machine without token or mutual TLS.")
@click.option("--cors-origins", multiple=True, metavar="ORIGIN", help="Browser origin that may send [default: none].")
@click.option("--forward", "forward_urls", multiple=True, metavar="URL", help="Pass on to http(s):// or grpc(s)://.")
@click.option("--forward-header", "forward_headers", multiple=True, metavar="KEY=VALUE", help="Sent to all --forward.")
@click.option(
    "--forward-content",
    type=click.Choice(("keep", "drop")),
    default="keep",
    show_default=True,
    help="Whether destinations get what people and models said.",
)
@click.option("--sample", type=float, default=1.0, show_default=True, help="Share of runs whose inner spans are kept.")
@click.option(
    "--sample-keep-usd", type=Amount(), default="0.50", show_default=True, help="Runs this costly stay whole."
)
@click.option("--keep", "keep_s", type=Duration(), help="Delete what is older, such as 30d [default: keep all].")
@click.option(
    "--keep-quarantine", "keep_quarantine_s", type=Duration(), default="7d", show_default=True, help="Likewise."
)
@click.option(
    "--max-request-bytes", type=Size(least=1), default="64MiB", show_default=True, help="Also after decompression."
)
@click.option(
    "--max-in-flight-bytes", type=Size(least=1), default="128MiB", show_default=True, help="Requests worked on."
)
@click.option(
    "--max-journal-bytes", type=Size(least=1), default="4GiB", show_default=True, help="Then senders are put off."
)
@click.option("--min-free-disk-bytes", type=Size(), default="512MiB", show_default=True, help="Likewise.")
@click.option(
    "--max-connections", type=click.IntRange(1), default=1024, show_default=True, help="Of HTTP, and of gRPC."
)
@click.option("--idle-timeout", "idle_timeout_s", type=float, default=60.0, show_default=True, help="Seconds.")
@click.option("--read-timeout", "read_timeout_s", type=float, default=30.0, show_default=True, help="Seconds.")
@click.option("--drain-timeout", "drain_timeout_s", type=float, default=20.0, show_default=True, help="Seconds.")
@click.option("--log-format", type=click.Choice(("json", "text")), default="json", show_default=True, help="On stderr.")
@click.option(
    "--log-level",
    type=click.Choice(("debug", "info", "warning", "error")),
    default="info",
    show_default=True,
    help="Least level.",
)
@click.option("--print-config", is_flag=True, help="Print the settings as TOML, secrets masked, and stop.")
@click.option(
    "--quarantine",
    type=click.Choice(("list", "retry")),
    help="List the requests that could not be stored, or put them into the journal again, and stop.",
)
@click.pass_context
def command(
    ctx: click.Context,
    /,
    store_url: str | None,
    config: Path | None,
    print_config: bool,
    quarantine: str | None,
    forward_urls: tuple[str, ...],
    forward_headers: tuple[str, ...],
    **values: Any,
) -> None:
    """Read the settings, then run until SIGTERM."""
    settings = Settings(
        store=store_url,
        forward=_forwards(ctx, forward_urls, forward_headers),
        budget=_budgets(ctx),
        **values,
    )
    if print_config:
        click.echo(settings.as_toml(), nl=False)
        return
    from inferometer.sidecar.service import journal_path, run_sidecar

    if quarantine is not None:
        _show_quarantine(journal_path(settings), retry=quarantine == "retry")
        return
    run_sidecar(settings, lambda line: click.echo(line, err=True))
