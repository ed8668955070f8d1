"""``inferometer import``: files and folders into the store."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import click

from inferometer.cli.options import json_option, print_json, store_option
from inferometer.schema.errors import UserError
from inferometer.schema.wording import counted

if TYPE_CHECKING:
    from inferometer.ingest.importing import ImportReport, Progress
    from inferometer.ingest.watching import Marks
    from inferometer.store import Store

USER_MISTAKE = 2


@click.command(name="import")
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("--format", "file_format", metavar="FORMAT", help="Format of the files [default: told from each file].")
@click.option("--model", metavar="NAME", help="Model of files that do not say.")
@click.option(
    "--content",
    type=click.Choice(["drop", "keep"]),
    default="drop",
    show_default=True,
    help="What becomes of what people and models said, after it was counted and hashed.",
)
@click.option("--discover", is_flag=True, help="Find and read this machine's coding-agent transcripts.")
@click.option("--again", is_flag=True, help="Read also files that did not change since they were imported.")
@click.option("--watch", is_flag=True, help="Keep reading what is added, until stopped.")
@store_option
@json_option
def command(
    paths: tuple[str, ...],
    file_format: str | None,
    model: str | None,
    content: str,
    discover: bool,
    again: bool,
    watch: bool,
    store_url: str | None,
    as_json: bool,
) -> int:
    """Read traces and transcripts into the store.

    PATH is a file, a folder or - for the standard input; plain, gzip or zstd.
    """
    from inferometer.ingest.discovery import AGENTS, transcripts
    from inferometer.ingest.importing import files_below, import_paths
    from inferometer.ingest.watching import changed_files
    from inferometer.ingest.watching import watch as watch_files
    from inferometer.store import open_store

    if not paths and not discover:
        raise click.UsageError("name at least one PATH, - for the standard input, or --discover")
    if watch and as_json:
        raise click.UsageError("--watch has no end and so no --json document")
    names: list[PurePath] = [PurePath(path) for path in paths]
    found = [path for _, path in transcripts()] if discover else []
    if not (names or found or watch):
        raise UserError(f"--discover found no transcripts: none of {', '.join(AGENTS)} has left any in {Path.home()}")

    def load(store: Store, files: Sequence[PurePath], named: Sequence[PurePath] = (), **rest: Any) -> ImportReport:
        kept = content == "keep"
        return import_paths(
            store, named, found=files, format=file_format, model=model, keep_content=kept, again=again, **rest
        )

    def followed() -> Iterator[Path]:
        for name in names:
            path = Path(name)
            yield from files_below(path) if path.is_dir() else [path]
        if discover:
            yield from (path for _, path in transcripts())

    with open_store(store_url) as store:
        marks: Marks = {}
        if watch:
            changed_files(followed, marks)  # before they are read: what is added meanwhile is read at the first look
        with _progress_bar() as progress:
            report = load(store, found, names, progress=progress)
        _tell(report, as_json)
        if watch:
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            with suppress(KeyboardInterrupt):
                for added in watch_files(store, followed, load, marks=marks):
                    if added.spans:
                        _print(added)
    return USER_MISTAKE if report.is_failure else 0


def _tell(report: ImportReport, as_json: bool) -> None:
    if as_json:
        print_json(document(report))
    elif report.files or not report.failed:
        _print(report)
    for failure in report.failed:
        if failure.named or report.is_failure:
            click.echo(f"error: {failure.path}: {failure.reason}", err=True)


def document(report: ImportReport) -> dict[str, object]:
    """Return the ``import`` JSON document."""
    return {
        "files": report.files,
        "unchanged": report.unchanged,
        "spans": report.spans,
        "runs": report.runs,
        "inferences": report.inferences,
        "tool_calls": report.tool_calls,
        "duplicates": report.duplicates,
        "warnings": dict(sorted(report.warnings.items())),
        "failed": [{"path": failure.path, "reason": failure.reason} for failure in report.failed],
    }


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("importing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)

        def advance(path: PurePath, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=path.name)

        yield advance


def _print(report: ImportReport) -> None:
    known = f" ({report.unchanged:,} unchanged)" if report.unchanged else ""
    click.echo(
        f"{counted(report.files, 'file')}{known}: {counted(report.spans, 'span')}, {counted(report.runs, 'run')}, "
        f"{counted(report.inferences, 'inference')}, {counted(report.tool_calls, 'tool call')} added; "
        f"{counted(report.duplicates, 'duplicate')}"
    )
    for kind, count in sorted(report.warnings.items()):
        click.echo(f"warning: {count} x {kind.replace('_', ' ')}")
    walked = sum(not failure.named for failure in report.failed)
    if walked:
        click.echo(f"not understood: {counted(walked, 'file')}; --json names them")
