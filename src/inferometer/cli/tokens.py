"""``inferometer tokens``: count tokens, time the counting."""

from __future__ import annotations

import sys
import sysconfig
import time
from pathlib import Path

import click

from inferometer.cli.options import json_option, print_json
from inferometer.schema.errors import InputError

BENCH_S = 0.5
"""How long a text is counted for a figure."""


@click.group()
def command() -> None:
    """Count tokens, time the counting."""


@command.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("--encoding", "encoding_name", metavar="NAME", help="Vocabulary [default: o200k_base].")
@click.option("--model", metavar="NAME", help="Count as this model does.")
@json_option
def count(paths: tuple[str, ...], encoding_name: str | None, model: str | None, as_json: bool) -> None:
    """Count the tokens of files, or of standard input."""
    from inferometer.tokens import encoding, encoding_for_model

    chosen = encoding_for_model(model) if model and not encoding_name else encoding(encoding_name or "o200k_base")
    contents = [(path, _read(path)) for path in paths or ("-",)]
    rows = [(path, len(content), chosen.count(content)) for path, content in contents]
    total = sum(tokens for _, _, tokens in rows)
    if as_json:
        files = [{"path": path, "bytes": size, "tokens": tokens} for path, size, tokens in rows]
        print_json({"encoding": chosen.name, "estimated": chosen.is_estimate, "files": files, "tokens": total})
        return
    for path, _, tokens in rows:
        click.echo(f"{tokens:>12,}  {path}")
    if len(rows) > 1:
        click.echo(f"{total:>12,}  total")
    if chosen.is_estimate:
        click.echo(f"an estimate: the vocabulary of {chosen.name} is not public", err=True)


@command.command()
@click.argument("path", required=False)
@click.option(
    "--encoding", "encoding_name", metavar="NAME", default="o200k_base", show_default=True, help="Vocabulary."
)
@json_option
def bench(path: str | None, encoding_name: str, as_json: bool) -> None:
    """Time the counting of a file, or of Python's own library, on this machine; CPU time of one thread."""
    from inferometer.tokens import encoding
    from inferometer.tokens.vocabularies.compiled import load
    from inferometer.tokens.vocabularies.registry import describe

    content = _read(path) if path else _library_text()
    encoding(encoding_name)  # compiled now, if it was not
    begun = time.process_time()
    fresh = load(describe(encoding_name))
    loaded = time.process_time()
    tokens = fresh.count(content)
    first_s = time.process_time() - loaded
    times, begun_counting = [], time.process_time()
    while time.process_time() - begun_counting < BENCH_S:
        before = time.process_time()
        fresh.count(content)
        times.append(time.process_time() - before)
    megabytes, warm_s = len(content) / 1e6, min(times)
    document = {
        "encoding": encoding_name,
        "bytes": len(content),
        "tokens": tokens,
        "load_ms": (loaded - begun) * 1e3,
        "first_mb_per_s": megabytes / first_s if first_s else None,
        "warm_mb_per_s": megabytes / warm_s if warm_s else None,
    }
    if as_json:
        print_json(document)
        return
    click.echo(f"{encoding_name}: {len(content):,} bytes, {tokens:,} tokens")
    click.echo(f"load {document['load_ms']:.1f} ms", nl=False)
    for name in ("first", "warm"):
        rate = document[f"{name}_mb_per_s"]
        click.echo(f", {name} {rate:.0f} MB/s" if isinstance(rate, float) else f", {name} too short to time", nl=False)
    click.echo()


def _library_text() -> bytes:
    """Source code of Python's own library: it is on every machine, and looks like what agents read."""
    folder = Path(sysconfig.get_path("stdlib"))
    return b"".join(path.read_bytes() for path in sorted(folder.glob("*.py"))[:60])


def _read(path: str) -> bytes:
    if path == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None
