"""Files and folders into the store: each file one transaction, one bad file never in the way of the others."""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from inferometer.ingest.commit import Committed, commit_counted
from inferometer.ingest.copies import SessionCopies, identities
from inferometer.ingest.importers import importer_named, importer_of
from inferometer.ingest.importers.importer import Importer, Options, Source
from inferometer.ingest.importers.opening import STDIN, open_source
from inferometer.ingest.receipts import FileState, Receipt
from inferometer.schema.errors import InputError
from inferometer.schema.records import RecordBatch
from inferometer.store import Store

_UNFORESEEN = (TypeError, ValueError, KeyError, IndexError, AttributeError, OverflowError, ArithmeticError)
"""What a file of a shape that nobody foresaw may raise in its importer: it costs that file and no other."""

_NO_SESSIONS = frozenset({"otlp", "otlp-protobuf", "mooncake", "azure", "burstgpt", "vidur"})
"""Formats whose files hold no sessions under ids of their own that could have been copied."""

_BESIDE_DATABASES = ("-wal", "-shm", "-journal")
"""How the names of files end that SQLite keeps beside a database while it is written; they are read with it."""

FULL_COLLECTION_FILES = 64
"""After so many files all garbage is looked for, after the others only that of the last file."""

SPANS_AT_ONCE = 20_000
"""Spans held before they are written, within the one transaction of their file."""


@dataclass(slots=True, frozen=True)
class Failure:
    """A file that was not imported, and why; ``named`` where the user named it."""

    path: str
    reason: str
    named: bool


@dataclass(slots=True)
class ImportReport:
    """What an import added and what it met; ``copies`` are pairs of files that hold one session under two ids.

    ``unchanged`` are those of the files that were in the store already and were not read again.
    """

    files: int = 0
    unchanged: int = 0
    spans: int = 0
    runs: int = 0
    inferences: int = 0
    tool_calls: int = 0
    duplicates: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    failed: list[Failure] = field(default_factory=list)
    copies: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_failure(self) -> bool:
        """Whether the user has something to mend: a path named by them failed, or nothing was understood."""
        return any(failure.named for failure in self.failed) or (bool(self.failed) and self.files == 0)


Progress = Callable[[PurePath, int, int], None]
"""Called after each file with its path, the number done and the number in all."""


def import_paths(
    store: Store,
    paths: Sequence[str | PurePath],
    *,
    found: Sequence[PurePath] = (),
    format: str | None = None,  # noqa: A002 - the word of the command line
    model: str | None = None,
    keep_content: bool = False,
    again: bool = False,
    progress: Progress | None = None,
    now_ns: int | None = None,
) -> ImportReport:
    """Import files, folders and the standard input (``-``).

    Args:
        store: where the records go.
        paths: in the user's order; a folder stands for the files below it.
        found: files that the user did not name: one that is not understood is no mistake of theirs.
        format: name of the format of all of them; told from each file where None.
        model: name of the model for files that do not say.
        keep_content: whether what people and models said may stay.
        again: read also what was imported whole and did not change since.
        progress: told after each file.
        now_ns: nanoseconds since 1970, for tests.

    Raises:
        UnknownNameError: there is no such format.
        StoreError: the store cannot be written.
    """
    importer = importer_named(format) if format else None
    intake = _Intake(store, importer, Options(model, keep_content), again, now_ns)
    files = [*_files(paths, intake.report), *((path, False) for path in found)]
    with _fewer_collections():
        for done, (path, named) in enumerate(files, 1):
            intake.take(path, named)
            gc.collect(0 if done % FULL_COLLECTION_FILES else 2)
            if progress is not None:
                progress(path, done, len(files))
    return intake.report


@contextmanager
def _fewer_collections() -> Iterator[None]:
    """Look for cyclic garbage between files and not within them: records are many and make none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(slots=True)
class _Intake:
    """One import of many files."""

    store: Store
    importer: Importer | None
    options: Options
    again: bool
    now_ns: int | None
    report: ImportReport = field(default_factory=ImportReport)
    copies: SessionCopies = field(default_factory=SessionCopies)

    def take(self, path: PurePath, named: bool) -> None:
        """Import one file, or know it again."""
        report = self.report
        state = None if path == STDIN else FileState.of(path, self.importer and self.importer.name, self.options)
        receipt = None if state is None or self.again else Receipt.find(self.store, state)
        if receipt is not None:
            committed = Committed(duplicates=receipt.records)
            report.unchanged += 1
        else:
            try:
                committed, receipt = self._read(path, state)
            except InputError as error:
                report.failed.append(Failure(str(path), error.reason, named))
                return
        report.files += 1
        report.spans += committed.spans
        report.runs += committed.runs
        report.inferences += committed.inferences
        report.tool_calls += committed.tool_calls
        report.duplicates += committed.duplicates
        report.warnings.update(receipt.warnings)
        if copies := self.copies.look(receipt.sessions, receipt.name):
            report.warnings["session_copies"] += copies
        report.copies = self.copies.found

    def _read(self, path: PurePath, state: FileState | None) -> tuple[Committed, Receipt]:
        """Commit the records of a file, and leave a receipt for them where reading it again could add nothing."""
        committed = Committed()
        with open_source(path, self.options) as source, self.store.transaction() as transaction:
            receipt = Receipt(source.name)
            receipt.expect(transaction)
            reader = self.importer or _recognised(source)
            if source.is_large and reader.cuts is None:
                source.load()
            for batch in _gathered(_batches(source, reader), source):
                receipt.warnings.update(+batch.warnings)
                receipt.records += len(batch.spans) + batch.duplicates
                if reader.name not in _NO_SESSIONS:
                    receipt.sessions += identities(batch)
                committed += commit_counted(transaction, batch, self.now_ns)
            if state is not None and state.is_final() and not committed.closing_runs:
                receipt.leave(transaction, state)
        return committed, receipt


def _recognised(source: Source) -> Importer:
    try:
        return importer_of(source)
    except _UNFORESEEN as error:
        raise InputError(str(source.path), f"cannot be understood: {type(error).__name__}: {error}") from error


def _batches(source: Source, importer: Importer) -> Iterator[RecordBatch]:
    yield from importer.read(source)


def _gathered(batches: Iterable[RecordBatch], source: Source) -> Iterator[RecordBatch]:
    """Yield few large batches in place of many small ones, for traces are decided as a whole."""
    gathered = RecordBatch()
    try:
        for batch in batches:
            gathered.extend(batch)
            if len(gathered.spans) >= SPANS_AT_ONCE:
                yield gathered
                gathered = RecordBatch()
    except RecursionError as error:
        raise InputError(str(source.path), "is nested too deeply") from error
    except _UNFORESEEN as error:
        raise InputError(str(source.path), f"cannot be understood: {type(error).__name__}: {error}") from error
    yield gathered


def _files(paths: Sequence[str | PurePath], report: ImportReport) -> Iterator[tuple[PurePath, bool]]:
    for name in paths:
        path = PurePath(name)
        if path == STDIN or Path(path).is_file():
            yield path, True
        elif Path(path).is_dir():
            below = files_below(Path(path))
            if not below:
                report.failed.append(Failure(str(path), "is a folder without files", True))
            for file in below:
                yield file, False
        else:
            reason = "does not exist" if not Path(path).exists() else "is neither a file nor a folder"
            report.failed.append(Failure(str(path), reason, True))


def files_below(folder: Path) -> list[Path]:
    """Return the files that an import of a folder reads, in order; hidden ones and parts of databases are left out."""
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        parts = {name + suffix for name in files for suffix in _BESIDE_DATABASES}
        for name in files:
            file = Path(root, name)
            if not name.startswith(".") and name not in parts and file.is_file():
                yield file
