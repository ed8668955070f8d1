"""``inferometer run``: a program with hooks installed, without a change to its code."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click

from inferometer.schema.errors import UserError


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--store", "store_url", metavar="URL", help="Write to this store directly.")
@click.option("--endpoint", metavar="URL", help="Send to this OTLP/HTTP receiver.")
@click.option("--service", metavar="NAME", help="The program's name in traces [default: the command's].")
@click.option("--capture", type=click.Choice(["none", "metadata", "content"]), help="What of calls is kept.")
@click.argument("words", nargs=-1, required=True, metavar="[--] CMD...", type=click.UNPROCESSED)
def command(
    words: tuple[str, ...], store_url: str | None, endpoint: str | None, service: str | None, capture: str | None
) -> None:
    """Run a Python program, such as ``inferometer run -- python agent.py``, and record its model calls.

    Without --store or --endpoint, traces go where the environment says, else to a sidecar on this machine, else to the
    user's store. The program keeps its exit code, signals and output.
    """
    if store_url is not None and endpoint is not None:
        raise UserError("give --store or --endpoint, not both")
    program = shutil.which(words[0])
    if program is None:
        raise UserError(f"there is no program {words[0]!r} in PATH")
    changed = environment(words, store_url, endpoint, service, capture)
    _check_destination(store_url, endpoint)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(program, list(words), changed)


def _check_destination(store_url: str | None, endpoint: str | None) -> None:
    """Refuse what cannot take spans while it can still be said; the program itself is never stopped for it.

    Raises:
        StoreError: the store cannot be opened.
        UserError: the endpoint is no URL of an OTLP/HTTP receiver.
    """
    if store_url is not None:
        from inferometer.store import open_store

        open_store(store_url).close()
    if endpoint is not None and not is_http_url(endpoint):
        raise UserError(f"--endpoint {endpoint!r} needs http:// or https://, and a host, such as http://collector:4318")


def is_http_url(text: str) -> bool:
    """Whether a text is an ``http`` or ``https`` URL with a host and, where it names one, a port that can be."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def environment(
    words: tuple[str, ...], store_url: str | None, endpoint: str | None, service: str | None, capture: str | None
) -> dict[str, str]:
    """Return the program's environment: ours, with the start-up folder in front and the options in one variable."""
    from inferometer.integrations import startup

    options = {"store": store_url, "endpoint": endpoint, "service": service, "capture": capture}
    name = _name(words)
    if service is None and not os.environ.get("OTEL_SERVICE_NAME"):
        options["service"] = name
    given = {name: value for name, value in options.items() if value is not None}
    folder = str(Path(startup.__file__).resolve().parent)
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), startup.VARIABLE: json.dumps(given)}


def _name(words: tuple[str, ...]) -> str:
    """Return the script's or module's name, not that of the interpreter.

    Raises:
        UserError: for an interpreter that is told to leave our start-up folder out.
    """
    interpreter = Path(words[0]).stem
    rest = iter(words[1:] if interpreter.startswith("python") else ())
    for word in rest:
        if not word.startswith("-"):
            return Path(word).stem
        if word.startswith(("-W", "-X", "--")):
            if word in ("-W", "-X", "--check-hash-based-pycs"):
                next(rest, None)
            continue
        if not {"I", "E", "S"}.isdisjoint(word):
            raise UserError(f"{words[0]} {word} loads nothing at start-up; leave it out, or configure in the program")
        if word.endswith("m"):
            return next(rest, interpreter)
        if word == "-" or word.endswith("c"):
            break
    return interpreter
