"""What happens to a sidecar that stays: readers that stay too, load without end, upgrades in the middle of work."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from tests.sidecar.conftest import copy_journal
from tests.store.test_migration import write_first_store

from inferometer.schema.errors import StoreError
from inferometer.sidecar.normaliser import Normaliser
from inferometer.sidecar.normaliser_settings import NormaliserSettings
from inferometer.sidecar.settings import Settings
from inferometer.store import location, open_store
from inferometer.store.journal import STORE_CONSUMER, WAL_LIMIT_BYTES, Journal
from inferometer.store.log_records import NewEntry
from inferometer.store.migration import HEAD
from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Running, Start

SETTINGS = NormaliserSettings.of(Settings(), "")


def entry(request: object) -> NewEntry:
    return NewEntry("traces", "protobuf", "identity", 1, request.SerializeToString(), 1)  # type: ignore[attr-defined]


def pids_of(sidecar: Running) -> list[int]:
    return [sidecar.process.pid, *sidecar.children()]


def open_files(sidecar: Running) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids_of(sidecar))


def test_a_reader_that_stays_holds_up_neither_acknowledgements_nor_records(start: Start) -> None:
    """A report that reads for a minute, or for ever, sees one moment; what comes meanwhile is stored beside it."""
    sidecar = start()
    first = build_request(2)
    assert sidecar.post(first.SerializeToString()).status == 200
    sidecar.wait_until_stored()
    count = "SELECT count(*) FROM spans"
    with contextlib.closing(sqlite3.connect(sidecar.store, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute(count).fetchone()[0] == 2
        expected = ids_of(first)
        for _ in range(8):
            request = build_request(16)
            assert sidecar.post(request.SerializeToString()).status == 200
            expected |= ids_of(request)
            sidecar.wait_until_stored()  # a transaction of its own each time
        assert reader.execute(count).fetchone()[0] == 2
        assert set(stored_ids(sidecar.store)) == expected
        reader.execute("COMMIT")
    assert sidecar.metric("store_failures_total") == 0
    assert sidecar.stop() == 0
    assert set(stored_ids(sidecar.store)) == expected


def test_a_writer_that_stays_longer_than_is_waited_costs_a_try_and_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait of a minute for another's lock is cut to a moment here; what comes after it is the same."""
    assert location.BUSY_TIMEOUT_MS == 60_000
    monkeypatch.setattr(location, "BUSY_TIMEOUT_MS", 50)
    path = tmp_path / "store.sqlite"
    request = build_request(3)
    with open_store(str(path)) as store, contextlib.closing(Journal(tmp_path / "journal")) as journal:
        journal.append([entry(request)])
        normaliser = Normaliser(store, journal, SETTINGS, lambda counts: None)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                with pytest.raises(StoreError, match="locked"):
                    normaliser.step()
            assert journal.backlog(STORE_CONSUMER).entries == 1
            assert journal.quarantined() == []
            other.execute("ROLLBACK")
        assert normaliser.step()
        assert journal.backlog(STORE_CONSUMER).entries == 0
    assert set(stored_ids(path)) == ids_of(request)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads a process' memory from /proc")
def test_memory_files_and_log_stay_flat_under_load(start: Start) -> None:
    sidecar = start()
    bodies = [build_request(64, content='[{"role": "user", "content": "%s"}]' % ("word " * 50)) for _ in range(5)]
    sent = 0
    memory, files, logs = [], [], []
    for _ in range(7):
        for _ in range(8):
            for body in bodies:
                # fresh ids of the same length, so that each request is new
                for span in body.resource_spans[0].scope_spans[0].spans:
                    sent += 1
                    span.trace_id = (1 + sent // 16).to_bytes(16, "little")
                    span.span_id = sent.to_bytes(8, "big")
                assert sidecar.post(body.SerializeToString()).status == 200
        sidecar.wait_until_stored()
        memory.append(sidecar.rss_mb)
        files.append(open_files(sidecar))
        logs.append(Path(f"{sidecar.store}.journal-wal").stat().st_size)
    assert len(stored_ids(sidecar.store)) == sent
    # the first rounds fill caches of bounded size
    assert memory[-1] - memory[2] < 12, memory
    assert max(files[2:]) - min(files[2:]) <= 4, files
    assert max(logs) <= WAL_LIMIT_BYTES, logs
    assert sidecar.stop() == 0


def test_a_store_of_an_older_version_and_a_journal_with_entries_are_taken_over(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade in the middle of work: the store is brought up to date first, then gets what was acknowledged."""
    write_first_store(str(tmp_path / "store.sqlite"), monkeypatch)
    before = set(stored_ids(tmp_path / "store.sqlite"))
    assert before
    requests = [build_request(4) for _ in range(3)]
    with contextlib.closing(Journal(tmp_path / "store.sqlite.journal")) as journal:
        journal.append([entry(request) for request in requests])
    sidecar = start()
    sidecar.wait_until_stored()
    later = build_request(2)
    assert sidecar.post(later.SerializeToString()).status == 200
    sidecar.wait_until_stored()
    assert sidecar.stop() == 0
    found = stored_ids(sidecar.store)
    assert set(found) == before | ids_of(later) | set().union(*map(ids_of, requests))
    assert len(found) == len(set(found))
    with contextlib.closing(sqlite3.connect(sidecar.store)) as connection:
        assert connection.execute("SELECT version_num FROM inferometer_version").fetchone()[0] == HEAD


def test_an_entry_that_was_stored_before_a_crash_and_an_upgrade_is_not_stored_again(
    start: Start, tmp_path: Path
) -> None:
    """Its id is in the store, its bytes are still in the journal: that is what a kill between the two leaves."""
    request = build_request(4)
    with contextlib.closing(Journal(tmp_path / "store.sqlite.journal")) as journal:
        journal.append([entry(request)])
    copy_journal(tmp_path, tmp_path / "kept")
    sidecar = start()
    sidecar.wait_until_stored()
    assert sidecar.stop() == 0
    with contextlib.closing(sqlite3.connect(sidecar.store)) as connection:
        connection.execute("DELETE FROM spans")  # what is skipped by its id does not come back
        connection.commit()
    copy_journal(tmp_path / "kept", tmp_path)
    again = start()
    again.wait_until_stored()
    again.wait_for(lambda: again.metric("repeated_entries_total") == 1)
    assert again.stop() == 0
    assert stored_ids(again.store) == []
