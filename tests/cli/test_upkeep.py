from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.documents import document, invoke

from inferometer.cli import run
from inferometer.ingest.commit import commit
from inferometer.ingest.normalise import normalise
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, RecordBatch, Span, SpanKind, UsageSource
from inferometer.store import open_store
from inferometer.store.migration import HEAD
from inferometer.testing.raw_spans import chat

BEGIN_NS = 1_760_000_000 * 10**9


@pytest.fixture
def store_path(tmp_path: Path) -> str:
    path = str(tmp_path / "store.sqlite")
    with open_store(path) as store:
        for number in range(2):
            trace = bytes([number + 1]) * 16
            span = Span(
                trace, b"callspan", "chat", SpanKind.INFERENCE, start_ns=BEGIN_NS + number, end_ns=BEGIN_NS + 1000
            )
            span.session_id, span.user_id = f"session-{number}", f"user-{number}"
            meters = Meters(input_fresh=10, output=5)
            call = Inference(trace, b"callspan", "openai", "gpt-4o", meters=meters, usage_source=UsageSource.PROVIDER)
            with store.transaction() as tx:
                commit(tx, RecordBatch(spans=[span], inferences=[call]))
    return path


def test_store_info_says_what_is_there(store_path: str) -> None:
    info = document("store", "info", "--store", store_path)
    assert info["rows"]["runs"] == 2
    assert info["revision"] == HEAD
    assert "inferences                  2" in invoke("store", "info", "--store", store_path).output


def test_store_migrate_says_what_it_did(tmp_path: Path, store_path: str) -> None:
    assert document("store", "migrate", "--store", store_path)["before"] == HEAD
    new = str(tmp_path / "new.sqlite")
    assert document("store", "migrate", "--store", new) == {
        "schema_version": 1,
        "store": new,
        "before": None,
        "revision": HEAD,
    }
    assert "nothing to do" in invoke("store", "migrate", "--store", new).output


def test_store_purge_erases_by_the_beginning_of_a_runs_id(store_path: str) -> None:
    [first, _] = document("runs", "--store", store_path)["runs"]
    assert document("store", "purge", "--run", first["run_id"][:8], "--store", store_path)["runs"] == 1
    assert "erased: nothing" in invoke("store", "purge", "--user", "nobody", "--store", store_path).output
    assert len(document("runs", "--store", store_path)["runs"]) == 1


def test_store_purge_erases_a_user_by_their_own_id(tmp_path: Path) -> None:
    """What is stored is a pseudonym; who asks to be forgotten does not know it."""
    path = str(tmp_path / "store.sqlite")
    with open_store(path) as store, store.transaction() as tx:
        for number, user in enumerate(("anna", "bob"), 1):
            commit(tx, normalise([chat(1, trace=bytes([number] * 16), user__id=user)]))
    [anna, bob] = sorted(run["user"] for run in document("runs", "--store", path)["runs"])
    assert not {anna, bob} & {"anna", "bob"}
    assert invoke("store", "purge", "--user", "anna", "--store", path).output.startswith(
        "erased: 1 run, 1 span, 1 inference"
    )
    [left] = document("runs", "--store", path)["runs"]
    assert document("store", "purge", "--user", left["user"], "--store", path)["runs"] == 1


def test_store_backup_writes_a_copy(store_path: str, tmp_path: Path) -> None:
    target = tmp_path / "copy.sqlite"
    assert document("store", "backup", str(target), "--store", store_path)["bytes"] == target.stat().st_size
    assert len(document("runs", "--store", str(target))["runs"]) == 2


def test_store_reprocess_says_that_nothing_changed(store_path: str) -> None:
    changes = document("store", "reprocess", "--all", "--store", store_path)
    assert changes["traces"] == 2
    assert changes["before"] == changes["after"]
    assert changes["changed_fields"] == {}


def test_export_writes_to_stdout_or_to_a_file(store_path: str, tmp_path: Path) -> None:
    lines = invoke("export", "--to", "mooncake", "--store", store_path).output.splitlines()
    assert [json.loads(line)["input_length"] for line in lines] == [10, 10]
    target = tmp_path / "out.jsonl"
    summary = document("export", "--to", "mooncake", "--out", str(target), "--store", store_path)
    assert summary["counts"] == {"calls": 2, "calls_without_date": 0}
    assert target.read_text().splitlines() == lines


def test_audit_writes_its_calls_as_focus_rows(store_path: str, tmp_path: Path) -> None:
    target, other = tmp_path / "audit.csv", tmp_path / "export.csv"
    invoke("audit", "--store", store_path, "--focus", str(target))
    invoke("export", "--to", "focus", "--out", str(other), "--store", store_path)
    assert target.read_text() == other.read_text()
    assert len(target.read_text().splitlines()) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["store", "purge"], "say what to erase"),
        (["store", "purge", "--run", "zz"], "unknown run"),
        (["export", "--to", "mooncakes"], "nearest known: mooncake"),
        (["export", "--to", "weka"], "name a folder with --out"),
        (["export", "--to", "otlp", "--json"], "--out"),
        (["export", "--to", "otlp", "--out", "/nonexistent/folder/file"], "there is no folder"),
        (["cost", "--prices", "/nonexistent/prices.toml"], "cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    store_path: str, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert run([*arguments, "--store", store_path]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert message in captured.err
