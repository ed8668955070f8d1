"""A file that was imported whole and did not change is known again, and told of as if it had been read."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.test_secrets import FILES, SECRET

from inferometer.ingest import importing, receipts
from inferometer.ingest.importing import ImportReport, import_paths
from inferometer.schema.selection import Selection
from inferometer.store import Store, open_store
from inferometer.store.upkeep import purge

NOW_NS = 1_800_000_000_000_000_000
Load = Callable[..., ImportReport]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take every file for one that was written long ago."""
    monkeypatch.setattr(receipts, "SETTLED_NS", -NOW_NS)


def session(*outputs: int, name: str = "s") -> bytes:
    def moment(number: int) -> str:
        return f"2026-01-01T00:00:{number:02d}Z"

    answers = [
        {"type": "message", "timestamp": moment(number),
         "message": {"role": "assistant", "model": "gpt-5", "usage": {"input": 5, "output": output}}}
        for number, output in enumerate(outputs)
    ]  # fmt: skip
    return b"\n".join(json.dumps(entry).encode() for entry in [{"type": "session", "id": name, "cwd": "/x"}, *answers])


def told(report: ImportReport) -> ImportReport:
    return replace(report, unchanged=0)


@pytest.mark.usefixtures("settled")
def test_files_of_every_format_are_told_of_as_if_they_were_read(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    (folder / "copied.jsonl").write_bytes(session(3, 4, 5, name="one"))
    (folder / "copy.jsonl").write_bytes(session(3, 4, 5, name="two"))
    first = load(folder)
    read = load(folder, again=True)
    monkeypatch.setattr(importing, "open_source", lambda *_: pytest.fail("read again"))
    known = load(folder)
    assert (first.unchanged, read.unchanged, known.unchanged) == (0, 0, first.files)
    assert (first.files, first.failed) == (len(FILES) + 2, [])
    assert told(known) == told(read)
    assert (known.spans, known.warnings["session_copies"], known.copies) == (0, 1, [("copy.jsonl", "copied.jsonl")])
    assert known.duplicates >= first.spans > len(FILES)
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
    assert SECRET.encode() not in kept
    assert os.fsencode(tmp_path) not in kept


def replaced_in_place(path: Path) -> None:
    """As many bytes at the same time in the same file: only the time of the change itself tells."""
    before = path.stat()
    path.write_bytes(session(3, 9))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def renamed_over(path: Path) -> None:
    before = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(session(3, 9))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(path)


def appended(path: Path) -> None:
    path.write_bytes(session(3, 4, 9))


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", [replaced_in_place, renamed_over, appended])
def test_file_that_changed_is_read(tmp_path: Path, store: Store, load: Load, change: Callable[[Path], None]) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(session(3, 4))
    assert load(path).inferences == 2
    assert load(path).unchanged == 1
    change(path)
    assert load(path).unchanged == 0
    assert max(row.inference.meters.output or 0 for row in store.inferences()) == 9
    assert load(path).unchanged == 1


@pytest.mark.usefixtures("settled")
def test_what_was_asked_for_and_who_reads_count_too(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "span.json"
    path.write_bytes(FILES["gen_ai.json"])
    load(path)
    assert load(path).unchanged == 1
    assert load(path, keep_content=True).unchanged == 0
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
    assert SECRET.encode() in kept
    for options in ({"model": "gpt-5"}, {"format": "otlp"}):
        assert [load(path, **options).unchanged for _ in range(2)] == [0, 1]
    monkeypatch.setattr(receipts, "_code_mark", lambda: (0, 0))
    assert [load(path).unchanged for _ in range(2)] == [0, 1]
    monkeypatch.setenv("INFEROMETER_HASH_KEY", "ab" * 32)
    assert [load(path).unchanged for _ in range(2)] == [0, 1]


def test_file_that_was_written_just_now_is_read_again(tmp_path: Path, load: Load) -> None:
    """Within one tick of its clock a file can change without its times showing it."""
    path = tmp_path / "session.jsonl"
    path.write_bytes(session(3))
    assert [load(path).unchanged for _ in range(2)] == [0, 0]


@pytest.mark.usefixtures("settled")
def test_file_that_changes_while_it_is_read_is_read_again(
    tmp_path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(session(3))
    batches = importing._batches

    def grow(*given: Any) -> Iterator[Any]:
        yield from batches(*given)
        path.write_bytes(session(3, 4))

    with monkeypatch.context() as patch:
        patch.setattr(importing, "_batches", grow)
        assert load(path).inferences == 1
    assert (load(path).inferences, load(path).unchanged) == (1, 1)


@pytest.mark.usefixtures("settled")
def test_open_runs_are_decided_again(tmp_path: Path, store: Store) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(session(3))
    [begun_ns] = [1_767_225_600_000_000_000]
    import_paths(store, [path], now_ns=begun_ns)
    assert [run.is_open for run in store.runs()] == [True]
    assert import_paths(store, [path], now_ns=NOW_NS).unchanged == 0
    assert [run.is_open for run in store.runs()] == [False]
    assert import_paths(store, [path], now_ns=NOW_NS).unchanged == 1


@pytest.mark.usefixtures("settled")
def test_file_that_failed_is_tried_again(tmp_path: Path, load: Load) -> None:
    path = tmp_path / "session.json"
    path.write_bytes(b'{"resourceSpans": [')
    assert [len(load(path).failed) for _ in range(2)] == [1, 1]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    on_server = request.param == "postgres"
    with open_store(request.getfixturevalue("postgres_url") if on_server else str(tmp_path / "store.db")) as opened:
        yield opened


@pytest.mark.usefixtures("settled")
def test_what_was_erased_comes_back_with_its_file(tmp_path: Path, either_store: Store) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(session(3))
    for _ in range(2):
        assert import_paths(either_store, [path], now_ns=NOW_NS).inferences == 1
        assert import_paths(either_store, [path], now_ns=NOW_NS).unchanged == 1
        purge(either_store, sessions=["s"])
        assert either_store.runs(Selection()) == []


@pytest.mark.usefixtures("settled")
def test_erasure_waits_for_an_import_whose_receipt_it_cannot_see(
    tmp_path: Path, either_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(session(3))
    import_paths(either_store, [path], again=True, now_ns=NOW_NS)
    with either_store.transaction() as tx:
        tx.connection.exec_driver_sql("DELETE FROM imported_files")
    erasing = threading.Thread(target=purge, args=[either_store], kwargs={"sessions": ["s"]})
    batches = importing._batches

    def meanwhile(*given: Any) -> Iterator[Any]:
        erasing.start()
        erasing.join(0.3)
        assert erasing.is_alive()
        yield from batches(*given)

    with monkeypatch.context() as patch:
        patch.setattr(importing, "_batches", meanwhile)
        import_paths(either_store, [path], now_ns=NOW_NS)
    erasing.join()
    assert import_paths(either_store, [path], now_ns=NOW_NS).inferences == 1
