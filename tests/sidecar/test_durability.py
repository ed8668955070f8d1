from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sidecar.conftest import copy_journal

from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Running, Start

Ids = set[tuple[bytes, bytes]]


def send_until_refused(sidecar: Running, acknowledged: Ids, senders: int = 4) -> list[threading.Thread]:
    """Send from several threads, noting what was acknowledged, until the sidecar is gone."""

    def send() -> None:
        for _ in range(100_000):
            request = build_request(16)
            try:
                answer = sidecar.post(request.SerializeToString())
            except OSError:
                return
            if answer.status == 200:
                acknowledged.update(ids_of(request))

    threads = [threading.Thread(target=send, name=f"sender-{number}") for number in range(senders)]
    for thread in threads:
        thread.start()
    return threads


def normaliser_of(sidecar: Running) -> int:
    """Return the process id of a sidecar's only child, waiting for it to be started."""
    sidecar.wait_for(lambda: len(sidecar.children()) == 1, "a normaliser")
    return sidecar.children()[0]


@pytest.mark.parametrize("round_number", range(3))
def test_after_a_kill_under_load_every_acknowledged_span_is_there_once(start: Start, round_number: int) -> None:
    wait_s = random.Random(round_number).uniform(0.2, 1.0)
    acknowledged: Ids = set()
    sidecar = start()
    threads = send_until_refused(sidecar, acknowledged)
    time.sleep(wait_s)
    sidecar.kill()
    for thread in threads:
        thread.join()
    again = start()
    again.wait_until_stored()
    assert again.stop() == 0
    stored = stored_ids(again.store)
    assert len(stored) == len(set(stored))
    assert acknowledged, "nothing was acknowledged, so that nothing was shown"
    assert acknowledged <= set(stored)


def test_a_kill_between_the_rows_and_the_deletion_of_the_entry_stores_nothing_twice(
    start: Start, tmp_path: Path
) -> None:
    sidecar = start()
    requests = [build_request(5) for _ in range(3)]
    with sidecar.another_writer():
        for request in requests:
            assert sidecar.post(request.SerializeToString()).status == 200
        copy_journal(tmp_path, tmp_path / "kept")
    sidecar.wait_until_stored()
    assert sidecar.stop() == 0
    # the state such a kill leaves: the store has the entries' ids and rows, the journal still has the entries
    copy_journal(tmp_path / "kept", tmp_path)
    again = start()
    again.wait_until_stored()
    again.wait_for(lambda: again.metric("repeated_entries_total") == 3)
    assert again.metric("stored_spans_total") == 0
    assert again.stop() == 0
    assert sorted(stored_ids(again.store)) == sorted(set().union(*map(ids_of, requests)))


def test_the_normaliser_is_started_again_when_it_is_killed(start: Start) -> None:
    sidecar = start()
    request = build_request(2)
    os.kill(normaliser_of(sidecar), signal.SIGKILL)
    sidecar.wait_for(lambda: sidecar.metric("normaliser_restarts_total") == 1)
    assert sidecar.post(request.SerializeToString()).status == 200
    sidecar.wait_until_stored()
    assert sidecar.stop() == 0
    assert set(stored_ids(sidecar.store)) == ids_of(request)


def test_the_normaliser_ends_when_the_sidecar_is_killed(start: Start) -> None:
    sidecar = start()
    normaliser = normaliser_of(sidecar)
    sidecar.kill()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{normaliser}").exists():
        assert time.monotonic() < deadline, "the normaliser outlived its parent"
        time.sleep(0.05)


def test_acknowledgements_go_on_while_another_holds_the_store(start: Start) -> None:
    sidecar = start()
    requests = [build_request(2) for _ in range(5)]
    with sidecar.another_writer():
        for request in requests:
            assert sidecar.post(request.SerializeToString()).status == 200
        assert stored_ids(sidecar.store) == []
    sidecar.wait_until_stored()
    assert set(stored_ids(sidecar.store)) == set().union(*map(ids_of, requests))
    assert sidecar.stop() == 0


def test_a_full_journal_puts_senders_off_and_recovers(start: Start) -> None:
    sidecar = start("--max-journal-bytes", "100k")
    request = build_request(1, content="x" * 20_000)
    with sidecar.another_writer():
        statuses = []
        for _ in range(40):
            answer = sidecar.post(build_request(1, content="x" * 20_000).SerializeToString())
            statuses.append(answer.status)
            if answer.status == 503:
                assert answer.headers["retry-after"] == "1"
                assert sidecar.request("GET", "/readyz").status == 503
                break
            time.sleep(0.06)
        assert statuses[-1] == 503
        assert statuses.count(200) < 10
    sidecar.wait_until_stored()
    sidecar.wait_for(lambda: sidecar.post(request.SerializeToString()).status == 200)
    assert sidecar.stop() == 0


def test_a_disk_that_cannot_take_more_is_answered_503_and_nothing_acknowledged_is_lost(
    start: Start, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # a limit on the size of files stands in for a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, before[1]))
    try:
        sidecar = start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    acknowledged: Ids = set()
    refused = 0
    with sidecar.another_writer():
        for _ in range(60):
            request = build_request(4, content="y" * 50_000)
            answer = sidecar.post(request.SerializeToString())
            if answer.status == 200:
                acknowledged |= ids_of(request)
            else:
                assert answer.status == 503
                refused += 1
    assert refused
    assert acknowledged
    sidecar.kill()
    again = start()
    again.wait_until_stored()
    assert again.stop() == 0
    assert acknowledged <= set(stored_ids(again.store))
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite.journal")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


def test_free_disk_below_the_bound_puts_senders_off(start: Start) -> None:
    sidecar = start("--min-free-disk-bytes", "900T")
    answer = sidecar.post(build_request().SerializeToString())
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert b"disk" in answer.body
    assert sidecar.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MiB; the test skips where none may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=40M", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        pytest.skip("no file system may be mounted here; a limit on file sizes stands in for it in another test")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_disk_that_fills_up_refuses_and_recovers_without_loss(start: Start, small_disk: Path) -> None:
    sidecar = start(folder=small_disk)
    acknowledged: Ids = set()
    statuses = []
    with sidecar.another_writer():
        for _ in range(400):
            request = build_request(4, content="z" * 30_000)
            answer = sidecar.post(request.SerializeToString())
            statuses.append(answer.status)
            if answer.status == 200:
                acknowledged |= ids_of(request)
    assert set(statuses) == {200, 503}
    sidecar.wait_for(lambda: sidecar.metric("journal_entries") == 0, "room again")
    sidecar.wait_for(lambda: sidecar.post(build_request(1).SerializeToString()).status == 200, "recovery")
    sidecar.wait_until_stored()
    assert sidecar.stop() == 0
    found = stored_ids(sidecar.store)
    assert acknowledged <= set(found)
    assert len(found) == len(set(found))
    for name in ("store.sqlite", "store.sqlite.journal"):
        with contextlib.closing(sqlite3.connect(small_disk / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
