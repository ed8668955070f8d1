"""``inferometer import`` as a user calls it: what it prints, what it answers, how it ends."""

from __future__ import annotations

import gzip
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferometer.cli import run
from inferometer.store import open_store

SESSION = [
    {"type": "session", "id": "p", "cwd": "/x"},
    {"type": "message", "timestamp": "2026-01-01T00:00:00Z", "message": {"role": "user", "content": "hi"}},
    {
        "type": "message",
        "timestamp": "2026-01-01T00:00:02Z",
        "message": {"role": "assistant", "model": "gpt-5", "usage": {"input": 5, "output": 2}},
    },
]
BODY = b"\n".join(json.dumps(entry).encode() for entry in SESSION)

Call = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    def _call(*words: object) -> tuple[int, dict[str, Any], str]:
        code = run(["import", *map(str, words), "--store", str(tmp_path / "store.db"), "--json"])
        captured = capsys.readouterr()
        return code, json.loads(captured.out) if captured.out else {}, captured.err

    return _call


def test_document_says_what_was_added_and_what_was_there(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(BODY)
    code, first, _ = call(path)
    assert code == 0
    assert {key: first[key] for key in ("files", "spans", "runs", "inferences", "tool_calls", "duplicates")} == {
        "files": 1, "spans": 2, "runs": 1, "inferences": 1, "tool_calls": 0, "duplicates": 0,
    }  # fmt: skip
    assert (first["warnings"], first["failed"]) == ({}, [])
    _, second, _ = call(path)
    assert (second["spans"], second["inferences"], second["duplicates"]) == (0, 0, 2)


def test_compressed_files_and_standard_input_are_read(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import zstandard

    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(BODY))
    (tmp_path / "b.jsonl.zst").write_bytes(zstandard.compress(BODY.replace(b'"p"', b'"q"')))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(BODY.replace(b'"p"', b'"r"'))))
    code, document, _ = call(tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.zst", "-")
    assert (code, document["files"], document["inferences"]) == (0, 3, 3)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.json", b"", "is empty"),
        ("blank.json", b" \n\n", "is empty"),
        ("broken.json", b'{"a": [1, 2', "not JSON"),
        ("strange.json", b'{"a": 1}', "no format that is known"),
        ("strange.bin", b"\x00\x01\x02", "no format that is known"),
        ("half.gz", gzip.compress(BODY, mtime=0)[:40], "cannot be read"),
        ("absent.json", None, "does not exist"),
    ],
)
def test_path_that_cannot_be_read_fails_alone(
    call: Call, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    good, bad = tmp_path / "good.jsonl", tmp_path / name
    good.write_bytes(BODY)
    if content is not None:
        bad.write_bytes(content)
    code, document, errors = call(bad, good)
    assert code == 2
    assert document["files"] == 1
    assert document["inferences"] == 1
    assert [failure["path"] for failure in document["failed"]] == [str(bad)]
    assert reason in document["failed"][0]["reason"]
    assert errors.count("\n") == 1


def test_files_found_in_a_folder_may_be_strange(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "good.jsonl").write_bytes(BODY)
    (folder / "notes.txt").write_bytes(b"hello")
    code, document, _ = call(folder)
    assert (code, document["files"], len(document["failed"])) == (0, 1, 1)


def test_folder_of_which_nothing_is_understood_is_a_mistake(call: Call, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "notes.txt").write_bytes(b"hello")
    assert call(folder)[0] == 2


def test_broken_line_is_a_counted_warning(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(BODY + b'\n{"type": "mess\n')
    code, document, _ = call(path)
    assert (code, document["inferences"], document["warnings"]) == (0, 1, {"broken_line": 1})


def test_unknown_format_names_the_nearest(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "session.jsonl"
    path.write_bytes(BODY)
    code, document, errors = call(path, "--format", "claude-kode")
    assert (code, document) == (2, {})
    assert "claude-code" in errors


def test_no_path_is_a_mistake(call: Call) -> None:
    assert call()[0] == 2


def test_discover_says_whose_transcripts_it_looked_for_and_makes_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CLAUDE_CONFIG_DIR", "CODEX_HOME", "GEMINI_CLI_HOME", "XDG_DATA_HOME", "PI_CODING_AGENT_DIR"):
        monkeypatch.delenv(name, raising=False)
    assert run(["import", "--discover", "--store", str(tmp_path / "store.db")]) == 2
    assert "none of claude-code, codex, gemini-cli, opencode, pi has left any" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_was_read_only_the_reason_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["import", str(tmp_path / "absent"), "--store", str(tmp_path / "store.db")]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"error: {tmp_path / 'absent'}: does not exist\n")


def test_discover_finds_transcripts_of_this_machine(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PI_CODING_AGENT_DIR", str(tmp_path / "pi"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "pi/sessions/x").mkdir(parents=True)
    (tmp_path / "pi/sessions/x/session.jsonl").write_bytes(BODY)
    code, document, _ = call("--discover")
    assert (code, document["inferences"]) == (0, 1)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_watch_reads_what_is_added_once_until_it_is_stopped(tmp_path: Path, stop: signal.Signals) -> None:
    """A file that was there, one that grows and one that is new; at the end the store holds each call once."""
    folder, database = tmp_path / "sessions", tmp_path / "store.db"
    folder.mkdir()
    (folder / "still.jsonl").write_bytes(BODY)
    (folder / "grows.jsonl").write_bytes(BODY.replace(b'"p"', b'"grows"') + b"\n")
    (folder / ".hidden.jsonl").write_bytes(BODY.replace(b'"p"', b'"hidden"'))
    words = [sys.executable, "-m", "inferometer", "import", str(folder), "--watch", "--store", str(database)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        printed = [watching.stdout.readline()]
        later = {**SESSION[2], "timestamp": "2026-01-01T00:00:09Z"}
        with (folder / "grows.jsonl").open("ab") as file:
            file.write(json.dumps(later).encode() + b"\n")
        printed.append(watching.stdout.readline())
        (folder / "new.jsonl").write_bytes(BODY.replace(b'"p"', b'"new"'))
        printed.append(watching.stdout.readline())
        watching.send_signal(stop)
        rest, errors = watching.communicate(timeout=60)
    added = [[int(number) for number in re.findall(r"\d+", line)][:4] for line in printed]
    assert added == [[2, 4, 2, 2], [1, 1, 0, 1], [1, 2, 1, 1]]
    assert (watching.returncode, rest, errors) == (0, "", "")
    with open_store(str(database)) as store:
        assert len(list(store.inferences())) == 4
        assert len({run.session_id for run in store.runs()}) == 3


def test_watch_has_no_json_document(call: Call, tmp_path: Path) -> None:
    code, document, error = call(tmp_path, "--watch")
    assert (code, document) == (2, {})
    assert "--watch has no end" in error
