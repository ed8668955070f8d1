from __future__ import annotations

import contextlib
import socket
import sqlite3
import stat
from pathlib import Path

import pytest

from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Start

SECRET = "planted-secret-7f3a"
CONTENT = f'[{{"role":"user","parts":[{{"type":"text","content":"my {SECRET} is mine"}}]}}]'


def files_with_secret(folder: Path) -> list[str]:
    """Return the names of all files of a folder that hold the secret, as text or as UTF-16."""
    needles = (SECRET.encode(), SECRET.encode("utf-16-le"))
    found = []
    for file in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            if file.is_file() and any(needle in file.read_bytes() for needle in needles):
                found.append(file.name)
    return found


def secret_request() -> bytes:
    request = build_request(3, content=CONTENT, attributes={"input.value": f"also {SECRET} here", "team": "search"})
    span = request.resource_spans[0].scope_spans[0].spans[0]
    event = span.events.add(name="exception", time_unix_nano=5)
    event.attributes.add(key="exception.message").value.string_value = f"cannot read {SECRET} twice"
    span.status.code = 2
    span.status.message = f"failed at {SECRET} now"
    return request.SerializeToString()


def test_by_default_content_is_in_no_file_once_it_was_counted(start: Start, tmp_path: Path) -> None:
    sidecar = start()
    for _ in range(5):
        assert sidecar.post(secret_request()).status == 200
    sidecar.wait_until_stored()
    sidecar.wait_for(lambda: not files_with_secret(tmp_path), "a data folder without the secret")
    assert sidecar.metric("stored_spans_total") == 15
    assert sidecar.stop() == 0
    assert files_with_secret(tmp_path) == []


def test_dropped_before_the_journal_content_reaches_no_file_even_when_killed(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # a destination that never answers, so that all must wait
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sidecar = start("--content", "drop-before-journal", "--forward", url)
        with sidecar.another_writer():
            for _ in range(5):
                assert sidecar.post(secret_request()).status == 200
                assert files_with_secret(tmp_path) == []
            sidecar.kill()
        assert files_with_secret(tmp_path) == []
        again = start("--content", "drop-before-journal", "--forward", url, "--drain-timeout", "1")
        again.wait_for(lambda: len(stored_ids(again.store)) == 15)
        again.stop()
    assert files_with_secret(tmp_path) == []
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as connection:
        meters = connection.execute("SELECT sum(input_fresh), sum(output) FROM inferences").fetchone()
    assert meters == (1500, 150)


def test_content_is_kept_where_asked(start: Start, tmp_path: Path) -> None:
    sidecar = start("--content", "keep")
    assert sidecar.post(secret_request()).status == 200
    sidecar.wait_until_stored()
    assert sidecar.stop() == 0
    assert "store.sqlite" in files_with_secret(tmp_path)


@pytest.mark.parametrize("mode", ["drop", "drop-before-journal"])
def test_refused_requests_leave_no_content_behind(start: Start, tmp_path: Path, mode: str) -> None:
    sidecar = start("--content", mode)
    assert sidecar.post(secret_request()[:-20]).status == 400
    assert sidecar.post(secret_request(), content_type="text/plain").status == 415
    assert sidecar.stop() == 0
    assert files_with_secret(tmp_path) == []
    assert not any(SECRET in line for line in sidecar.lines)


def test_every_file_is_for_its_owner_alone(start: Start, tmp_path: Path) -> None:
    sidecar = start()
    with sidecar.another_writer():
        assert sidecar.post(build_request().SerializeToString()).status == 200
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*")}
    assert {"store.sqlite", "store.sqlite.journal", "store.sqlite.journal-wal", f"{0:020}.log"} <= set(modes)
    assert modes.pop("store.sqlite.journal.d") == 0o700
    assert set(modes.values()) == {0o600}
    assert sidecar.stop() == 0


def test_tokens_are_in_no_log_line(start: Start) -> None:
    sidecar = start("--token", SECRET, "--log-level", "debug")
    request = build_request()
    assert sidecar.post(request.SerializeToString()).status == 401
    assert sidecar.post(request.SerializeToString(), authorization=f"Bearer {SECRET}x").status == 401
    assert sidecar.post(request.SerializeToString(), authorization=f"Bearer {SECRET}").status == 200
    sidecar.wait_until_stored()
    assert sidecar.stop() == 0
    assert set(stored_ids(sidecar.store)) == ids_of(request)
    assert not any(SECRET in line for line in sidecar.lines)
