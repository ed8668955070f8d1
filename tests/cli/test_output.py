"""What verbs write: told before the work where it cannot be, and whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inferometer.cli import run
from inferometer.cli.output import write_whole
from inferometer.schema.errors import InputError
from inferometer.store import open_store


@pytest.fixture
def store(tmp_path: Path) -> str:
    path = str(tmp_path / "store.sqlite")
    open_store(path).close()
    return path


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "--html"],
        ["audit", "--json"],
        ["audit", "--focus"],
        ["export", "--to", "otlp", "--out"],
        ["export", "--to", "focus", "--out"],
        ["store", "backup"],
        ["calibrate", "--out"],
        ["demo", "--out"],
    ],
    ids=" ".join,
)
def test_a_file_without_a_place_is_told_at_once(
    words: list[str], store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none"
    assert run([*words, str(missing / "file"), "--store", store]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert str(missing) in captured.err
    assert not missing.exists()


def test_a_folder_is_no_file_and_a_file_no_folder(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["audit", "--html", str(tmp_path), "--store", store]) == 2
    assert "is a directory" in capsys.readouterr().err
    assert run(["export", "--to", "weka", "--out", store, "--store", store]) == 2
    assert "is a file" in capsys.readouterr().err


def test_a_file_that_was_there_stays_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def interrupted() -> None:
        with write_whole(str(path)) as stream:
            stream.write("half of the new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_full_disk_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(InputError, match="no space left on device"), write_whole("/dev/full") as stream:
        stream.write("x")


def test_a_link_still_leads_to_the_file(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    with write_whole(str(link)) as stream:
        stream.write("new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_device_is_written_into_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with write_whole(str(pipe)) as stream:
            stream.write("through")
        assert os.read(reader, 100) == b"through"
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_dash_is_the_standard_output(capsys: pytest.CaptureFixture[str], store: str) -> None:
    assert run(["export", "--to", "focus", "--out", "-", "--store", store]) == 0
    assert capsys.readouterr().out.startswith("BilledCost,")
