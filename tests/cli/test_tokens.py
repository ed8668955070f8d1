"""``inferometer tokens`` counts files and standard input, and times itself."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from inferometer.cli import run
from inferometer.cli import tokens as tokens_verb
from inferometer.tokens import encoding


def test_counts_files_and_their_sum(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("Hello world")
    (tmp_path / "b.txt").write_text("Hello, wide world")
    assert run(["tokens", "count", str(tmp_path / "a.txt"), str(tmp_path / "b.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["2", "4", "6"]


def test_json_names_vocabulary_files_and_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("Hello world")
    assert run(["tokens", "count", "--json", "--model", "gpt-4", str(path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["encoding"] == "cl100k_base"
    assert document["files"] == [{"path": str(path), "bytes": 11, "tokens": 2}]
    assert document["tokens"] == 2


def test_standard_input_is_counted(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Hello world")))
    assert run(["tokens", "count"]) == 0
    assert capsys.readouterr().out.split() == ["2", "-"]


@pytest.mark.parametrize("ending", ["", "\n", "中".encode()[:2].decode("latin-1")])
def test_a_file_of_many_chunks_counts_as_its_text(
    ending: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tokens_verb, "CHUNK_BYTES", 1001)
    content = "Plain words, 中文字符 and 😀.\r\n    indented   \n".encode() * 400 + ending.encode("latin-1")
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    assert run(["tokens", "count", "--json", str(path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["files"] == [
        {"path": str(path), "bytes": len(content), "tokens": encoding("o200k_base").count(content)}
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["count", "--encoding", "o200k", "x"], "o200k_base"),
        (["count", "--model", "no-such-model", "x"], "no-such-model"),
        (["count", "absent.txt"], "absent.txt"),
        (["count", "."], "directory"),
        (["bench", "absent.txt"], "absent.txt"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tokens", *arguments]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert len(error.splitlines()) == 1


def test_bench_says_how_fast(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("The quick brown fox jumps over the lazy dog.\n" * 5000)
    assert run(["tokens", "bench", "--json", str(path)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bytes"] == path.stat().st_size
    assert document["warm_mb_per_s"] > 0
    assert run(["tokens", "bench", str(path)]) == 0
    assert "MB/s" in capsys.readouterr().out
