"""``inferometer tokens``: count tokens, time the counting."""

from __future__ import annotations

import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from inferometer.cli.options import json_option, print_json
from inferometer.schema.errors import InputError

if TYPE_CHECKING:
    from inferometer.tokens import Encoding
    from inferometer.tokens.claude_model import ClaudeEncoding

CHUNK_BYTES = 1 << 20
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

    if model and encoding_name:
        raise click.UsageError("--model says which vocabulary; give it or --encoding")
    chosen = encoding_for_model(model) if model else encoding(encoding_name or "o200k_base")
    rows = [(path, *_count(path, chosen)) for path in paths or ("-",)]
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


def _count(path: str, chosen: Encoding | ClaudeEncoding) -> tuple[int, int]:
    """Return the bytes and tokens of a file, of which no more is held than up to a place where text may be cut."""
    from inferometer.tokens import Encoding, TokenStream

    if not isinstance(chosen, Encoding):
        content = _read(path)
        return len(content), chosen.count(content)
    stream, size = TokenStream(chosen), 0
    with _opened(path) as file:
        while chunk := file.read(CHUNK_BYTES):
            stream.append(chunk)
            size += len(chunk)
    stream.close()
    return size, stream.tokens


def _read(path: str) -> bytes:
    with _opened(path) as file:
        return file.read()


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == "-":
        yield sys.stdin.buffer
        return
    try:
        with Path(path).open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(path, error.strerror or str(error)) from None
