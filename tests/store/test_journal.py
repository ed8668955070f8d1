from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from inferometer.schema.errors import StoreError
from inferometer.store.entry_log import Entry
from inferometer.store.journal import APPLICATION_ID, STORE_CONSUMER, Backlog, Journal
from inferometer.store.journal_lock import JournalLock
from inferometer.store.log_records import NewEntry


def entry(body: bytes = b"x", items: int = 1) -> NewEntry:
    return NewEntry("traces", "protobuf", "identity", items, body, 1)


def read_all(journal: Journal, consumer: str = STORE_CONSUMER) -> list[Entry]:
    return journal.read(consumer, max_items=10**9, max_bytes=10**12)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def log_files(path: Path) -> list[Path]:
    return sorted(path.with_name(path.name + ".d").glob("*"))


def test_what_was_appended_is_read_in_order_and_forgotten_once_passed(path: Path) -> None:
    journal = Journal(path)
    journal.append([entry(b"one"), entry(b"two")])
    journal.append([entry(b"three")])
    read = read_all(journal)
    assert [one.body for one in read] == [b"one", b"two", b"three"]
    whole = journal.backlog_bytes()
    journal.advance(STORE_CONSUMER, read[1])
    assert [one.body for one in read_all(journal)] == [b"three"]
    backlog = journal.backlog(STORE_CONSUMER)
    assert (backlog.entries, backlog.oldest_received_ns) == (1, 1)
    assert 5 < backlog.bytes == journal.backlog_bytes() < whole
    journal.advance(STORE_CONSUMER, read[2])
    assert journal.backlog(STORE_CONSUMER) == Backlog(0, 0, None)
    assert journal.backlog_bytes() == 0
    journal.close()


def test_entry_ids_are_never_used_twice_even_when_the_journal_ran_empty(path: Path) -> None:
    seen = set()
    for _ in range(3):
        journal = Journal(path)
        journal.append([entry()])
        (only,) = read_all(journal)
        seen.add(only.entry_id)
        journal.advance(STORE_CONSUMER, only)
        journal.close()
    assert len(seen) == 3


def test_every_file_of_the_journal_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        lock = JournalLock(path)
        journal = Journal(path)
        journal.append([entry()])
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.rglob("*")}
    finally:
        os.umask(before)
        lock.release()
        journal.close()
    assert modes.pop("journal.sqlite.d") == 0o700
    assert len(modes) == 5
    assert set(modes.values()) == {0o600}


def test_an_entry_stays_until_the_slowest_consumer_has_passed_it(path: Path) -> None:
    journal = Journal(path)
    journal.add_consumer("forward:a")
    journal.append([entry(b"1"), entry(b"2")])
    both = read_all(journal)
    journal.advance(STORE_CONSUMER, both[1])
    assert [one.body for one in read_all(journal, "forward:a")] == [b"1", b"2"]
    assert journal.backlog_bytes() > 0
    journal.remove_consumer("forward:a")
    assert journal.backlog_bytes() == 0
    journal.close()


def test_a_consumer_never_moves_backwards(path: Path) -> None:
    journal = Journal(path)
    journal.add_consumer("other")
    journal.append([entry(), entry()])
    both = read_all(journal)
    journal.advance(STORE_CONSUMER, both[1])
    journal.advance(STORE_CONSUMER, both[0])
    assert read_all(journal) == []
    journal.close()


def test_reading_is_bounded_by_items_and_bytes_but_always_moves(path: Path) -> None:
    journal = Journal(path)
    journal.append([entry(b"x" * 100, 10) for _ in range(5)])
    assert len(journal.read(STORE_CONSUMER, max_items=20, max_bytes=10**6)) == 2
    assert len(journal.read(STORE_CONSUMER, max_items=10**6, max_bytes=300)) == 3
    assert len(journal.read(STORE_CONSUMER, max_items=1, max_bytes=1)) == 1
    journal.close()


def test_a_quarantined_request_is_passed_kept_with_its_reason_and_can_be_retried(path: Path) -> None:
    journal = Journal(path)
    journal.append([entry(b"poison"), entry(b"good")])
    poison, _ = read_all(journal)
    journal.quarantine(STORE_CONSUMER, poison, "it broke", b"poison")
    assert [one.body for one in read_all(journal)] == [b"good"]
    (kept,) = journal.quarantined()
    assert (kept.reason, kept.body, kept.entry_id) == ("it broke", b"poison", poison.entry_id)
    assert journal.requeue([kept.quarantine_id]) == 1
    assert [one.body for one in read_all(journal)] == [b"good", b"poison"]
    assert journal.quarantined() == []
    journal.close()


def test_what_all_have_passed_is_in_no_file_once_it_is_wiped(path: Path) -> None:
    secret = b"planted-secret-" * 3000
    journal = Journal(path)
    journal.append([entry(secret)])
    journal.wipe()
    assert [one.body for one in read_all(journal)] == [secret]
    journal.advance(STORE_CONSUMER, read_all(journal)[0])
    journal.wipe()
    assert not [file for file in path.parent.rglob("*") if file.is_file() and b"planted-secret" in file.read_bytes()]
    journal.append([entry(b"next")])
    assert [one.body for one in read_all(journal)] == [b"next"]
    journal.close()


def test_a_second_holder_of_the_lock_is_refused_with_one_clear_line(path: Path) -> None:
    lock = JournalLock(path)
    with pytest.raises(StoreError, match="another sidecar is using this journal"):
        JournalLock(path, wait_s=0.1)
    lock.release()
    JournalLock(path, wait_s=0.1).release()


def test_a_newer_or_foreign_file_is_refused_and_left_as_it_was(path: Path) -> None:
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer version"):
        Journal(path)
    assert path.read_bytes() == before
    foreign = path.with_name("foreign.sqlite")
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(StoreError, match="not a journal"):
        Journal(foreign)
    text = path.with_name("text")
    text.write_bytes(b"not a database, only text that is long enough to be looked at" * 10)
    with pytest.raises(StoreError, match="cannot be opened"):
        Journal(text)


def test_entries_of_the_first_version_keep_their_names_and_places(path: Path) -> None:
    with sqlite3.connect(path, isolation_level=None) as connection:
        connection.executescript(
            "CREATE TABLE entries (seq INTEGER PRIMARY KEY, received_ns INTEGER NOT NULL, signal TEXT NOT NULL,"
            " encoding TEXT NOT NULL, compression TEXT NOT NULL, items INTEGER NOT NULL, end_offset INTEGER NOT NULL,"
            " body BLOB NOT NULL);"
            "CREATE TABLE cursors (consumer TEXT PRIMARY KEY, seq INTEGER NOT NULL, end_offset INTEGER NOT NULL)"
            " WITHOUT ROWID;"
            "CREATE TABLE quarantine (quarantine_id INTEGER PRIMARY KEY AUTOINCREMENT, entry_id BLOB NOT NULL,"
            " consumer TEXT NOT NULL, received_ns INTEGER NOT NULL, quarantined_ns INTEGER NOT NULL,"
            " signal TEXT NOT NULL, encoding TEXT NOT NULL, compression TEXT NOT NULL, items INTEGER NOT NULL,"
            " reason TEXT NOT NULL, body BLOB);"
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
            "INSERT INTO meta VALUES ('journal_id', x'0102030405060708'), ('state.kept', 'yes');"
            "INSERT INTO cursors VALUES ('store', 7, 700), ('forward:a', 6, 600), ('forward:b', 5, 500);"
            "INSERT INTO entries VALUES (6, 1, 'traces', 'json', 'gzip', 3, 600, CAST('six' AS BLOB)),"
            " (7, 2, 'logs', 'protobuf', 'identity', 1, 700, CAST('seven' AS BLOB)),"
            " (8, 3, 'traces', 'protobuf', 'zstd', 9, 800, CAST('eight' AS BLOB));"
            f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version=1"
        )
    connection.close()
    for _ in range(2):  # taken over once, found so afterwards
        journal = Journal(path)
        (eight,) = read_all(journal)
        assert (eight.seq, eight.body, eight.signal, eight.compression, eight.items) == (
            8,
            b"eight",
            "traces",
            "zstd",
            9,
        )
        assert eight.entry_id == bytes.fromhex("01020304050607080000000000000008")
        assert [one.body for one in read_all(journal, "forward:a")] == [b"seven", b"eight"]
        assert [one.body for one in read_all(journal, "forward:b")] == [b"six", b"seven", b"eight"]
        assert journal.backlog(STORE_CONSUMER).entries == 1
        assert journal.get_state("kept") == "yes"
        journal.close()
    journal = Journal(path)
    journal.append([entry(b"nine")])
    assert [(one.seq, one.body) for one in read_all(journal)] == [(8, b"eight"), (9, b"nine")]
    journal.close()


def test_what_comes_after_a_loss_of_power_is_not_taken_for_what_a_reader_saw_before_it(path: Path) -> None:
    journal = Journal(path)
    journal.append([entry(b"flushed")])
    (segment,) = log_files(path)
    flushed_bytes = segment.stat().st_size
    journal.append([entry(b"seen, not yet flushed"), entry(b"nor this")])
    seen = read_all(journal)
    journal.advance(STORE_CONSUMER, seen[1])
    journal.close()
    os.truncate(segment, flushed_bytes)
    after = Journal(path)
    assert read_all(after) == []
    after.append([entry(b"sent again"), entry(b"new")])
    found = read_all(after)
    assert [one.body for one in found] == [b"sent again", b"new"]
    assert not {one.entry_id for one in found} & {one.entry_id for one in seen}
    after.advance(STORE_CONSUMER, found[1])
    assert after.backlog(STORE_CONSUMER) == Backlog(0, 0, None)
    after.close()


def test_what_append_returned_from_survives_a_kill(path: Path) -> None:
    program = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from inferometer.store.journal import Journal\n"
        "from inferometer.store.log_records import NewEntry\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "for number in range(20):\n"
        "    journal.append([NewEntry('traces', 'protobuf', 'identity', 1, str(number).encode(), 1)])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=False, timeout=60)
    journal = Journal(path)
    assert [int(one.body) for one in read_all(journal)] == list(range(20))
    journal.close()
