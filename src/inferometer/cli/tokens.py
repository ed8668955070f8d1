"""``inferometer tokens``: count tokens."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from inferometer.cli.options import json_option, print_json
from inferometer.schema.errors import InputError


@click.group()
def command() -> None:
    """Count tokens."""


@command.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--encoding", "encoding_name", metavar="NAME", help="Vocabulary [default: o200k_base].")
@click.option("--model", metavar="NAME", help="Count as this model does.")
@json_option
def count(paths: tuple[str, ...], encoding_name: str | None, model: str | None, as_json: bool) -> None:
    """Count the tokens of files, or of standard input."""
    from inferometer.tokens import encoding, encoding_for_model

    chosen = encoding_for_model(model) if model and not encoding_name else encoding(encoding_name or "o200k_base")
    rows = []
    for path in paths or ("-",):
        content = _read(path)
        rows.append({"path": path, "bytes": len(content), "tokens": chosen.count(content)})
    total = sum(int(str(row["tokens"])) for row in rows)
    if as_json:
        print_json({"encoding": chosen.name, "files": rows, "tokens": total})
        return
    for row in rows:
        click.echo(f"{row['tokens']:>12,}  {row['path']}")
    if len(rows) > 1:
        click.echo(f"{total:>12,}  total")


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None
