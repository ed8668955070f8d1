from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferometer.store import entry_log
from inferometer.store.entry_log import Entry, EntryLog
from inferometer.store.log_records import NewEntry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def log(folder: Path) -> Iterator[EntryLog]:
    opened = open_log(folder)
    yield opened
    opened.close()


def open_log(folder: Path) -> EntryLog:
    return EntryLog(folder, lambda: (0, 0))


def entry(body: bytes, items: int = 1) -> NewEntry:
    return NewEntry("traces", "protobuf", "identity", items, body, 1)


def read_all(log: EntryLog, offset: int = 0) -> list[Entry]:
    return log.read(offset, max_items=10**9, max_bytes=10**12)


def bodies(log: EntryLog, offset: int = 0) -> list[bytes]:
    return [one.body for one in read_all(log, offset)]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def test_an_entry_comes_back_as_it_was_given(log: EntryLog) -> None:
    given = NewEntry("métrics", "json", "gzip", 10**6, bytes(range(256)), -5)
    log.append([given, entry(b"")])
    first, second = read_all(log)
    assert (first.items, first.body, first.received_ns) == (given.items, given.body, given.received_ns)
    assert (first.encoding, first.compression) == (given.encoding, given.compression)
    assert (second.seq, second.body) == (first.seq + 1, b"")
    assert second.entry_id != first.entry_id


def test_what_is_appended_is_flushed_before_it_is_said_to_be(
    log: EntryLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bytes] = []

    def flush(fd: int) -> None:
        flushed.append(os.pread(fd, 10**6, 0))
        os.fdatasync(fd)

    monkeypatch.setattr(entry_log, "_flush", flush)
    log.append([entry(b"first")])
    log.append([entry(b"second"), entry(b"third")])
    assert [b"first" in one for one in flushed] == [True, True]
    assert b"third" not in flushed[0]
    assert b"third" in flushed[1]


def test_segments_follow_one_another_and_are_read_as_one(
    log: EntryLog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entry_log, "SEGMENT_BYTES", 1000)
    written = [bytes([number]) * 300 for number in range(20)]
    for body in written:
        log.append([entry(body)])
    assert len(segments(folder)) > 4
    read = read_all(log)
    assert [one.body for one in read] == written
    assert [one.seq for one in read] == list(range(1, 21))
    for one, rest in zip(read, itertools.count(1), strict=False):
        assert bodies(log, one.end_offset) == written[rest:]
    assert log.tail_offset() == read[-1].end_offset
    assert log.tail_seq() == 20
    log.drop_before(read[10].end_offset)
    assert bodies(log, read[10].end_offset) == written[11:]
    assert segments(folder)[0].name > f"{0:020}.log"


def test_a_new_writer_begins_a_segment_and_no_name_comes_twice(folder: Path) -> None:
    names = set()
    for number in range(3):
        log = open_log(folder)
        log.append([entry(b"x")])
        assert len(segments(folder)) == number + 1
        log.close()
    names = {one.entry_id for one in read_all(open_log(folder))}
    assert len(names) == 3
    assert [one.seq for one in read_all(open_log(folder))] == [1, 2, 3]


def test_two_writers_take_turns_and_order_is_kept(folder: Path) -> None:
    one, other = open_log(folder), open_log(folder)
    for number in range(6):
        (one if number % 2 else other).append([entry(str(number).encode())])
    assert [(each.seq, int(each.body)) for each in read_all(open_log(folder))] == [(n + 1, n) for n in range(6)]
    one.close()
    other.close()


def test_writers_in_several_processes_lose_nothing(folder: Path) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from inferometer.store.entry_log import EntryLog\n"
        "from inferometer.store.log_records import NewEntry\n"
        "log = EntryLog(Path(sys.argv[1]), lambda: (0, 0))\n"
        "for number in range(60):\n"
        "    log.append([NewEntry('traces', 'json', 'gzip', 1, f'{sys.argv[2]}{number}'.encode(), 1)])\n"
    )
    folder.mkdir()
    writers = [subprocess.Popen([sys.executable, "-c", program, str(folder), mark]) for mark in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    read = read_all(open_log(folder))
    assert sorted(one.body for one in read) == sorted(f"{mark}{n}".encode() for mark in "ab" for n in range(60))
    assert [one.seq for one in read] == list(range(1, 121))
    assert len({one.entry_id for one in read}) == 120


@pytest.mark.parametrize("failing", ["write", "flush"])
def test_an_append_that_fails_keeps_nothing_and_the_next_one_works(
    log: EntryLog, folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    log.append([entry(b"kept")])
    seen: list[Entry] = []
    with monkeypatch.context() as patched:

        def fail(fd: int, *rest: object) -> None:
            # a reader may be quicker than the failure
            seen.extend(read_all(open_log(folder)))
            raise OSError(errno.ENOSPC, "No space left on device")

        if failing == "flush":
            patched.setattr(entry_log, "_flush", fail)
        else:
            whole = entry_log.log_records.write_all

            def write_half(fd: int, parts: list[bytes], position: int) -> None:
                joined = b"".join(parts)
                whole(fd, [joined[: len(joined) * 2 // 3]], position)
                fail(fd)

            patched.setattr(entry_log.log_records, "write_all", write_half)
        with pytest.raises(OSError, match="No space"):
            log.append([entry(b"lost" * 100), entry(b"lost too" * 100)])
    assert bodies(log) == [b"kept"]
    log.append([entry(b"again")])
    kept, again = read_all(log)
    assert (kept.body, again.body) == (b"kept", b"again")
    # neither a place nor a name of what was seen too early
    assert again.entry_id not in {one.entry_id for one in seen}
    assert again.end_offset > max(one.end_offset for one in seen)
    assert again.seq > max(one.seq for one in seen)
    assert bodies(log, max(one.end_offset for one in seen)) == [b"again"]


def test_wherever_a_segment_is_cut_off_what_is_left_is_a_whole_beginning(folder: Path, tmp_path: Path) -> None:
    log = open_log(folder)
    written = [b"alpha", b"", b"gamma" * 20]
    log.append([entry(body) for body in written])
    ends = [one.end_offset for one in read_all(log)]
    log.close()
    whole = segments(folder)[0].read_bytes()
    for size in range(len(whole)):
        torn = tmp_path / f"torn-{size}"
        torn.mkdir()
        (torn / segments(folder)[0].name).write_bytes(whole[:size])
        cut = open_log(torn)
        left = sum(end <= size for end in ends)
        assert bodies(cut) == written[:left]
        cut.append([entry(b"after")])  # as the next start does
        assert bodies(open_log(torn)) == [*written[:left], b"after"]
        # seen or not, what comes after begins behind all that was there
        assert bodies(open_log(torn), max([0, *ends[:left]])) == [b"after"]
        cut.close()
        shutil.rmtree(torn)


def test_a_damaged_byte_costs_no_more_than_its_own_entry(folder: Path) -> None:
    log = open_log(folder)
    written = [b"alpha", b"beta" * 30, b"gamma"]
    log.append([entry(body) for body in written])
    ends = [0, *(one.end_offset for one in read_all(log))]
    log.append([entry(b"x")])
    log.close()
    next_log = open_log(folder)
    next_log.append([entry(b"after")])
    path = segments(folder)[0]
    path.chmod(0o600)
    whole = path.read_bytes()
    for place in range(24, ends[-1]):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x40]) + whole[place + 1 :])
        hit = next(number for number, end in enumerate(ends[1:]) if place < end)
        assert bodies(open_log(folder)) == [*(body for n, body in enumerate(written) if n != hit), b"x", b"after"]
    next_log.close()


def test_a_record_that_is_still_being_written_is_waited_for(folder: Path) -> None:
    log = open_log(folder)
    log.append([entry(b"first")])
    log.append([entry(b"second")])
    path = segments(folder)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    reader = open_log(folder)
    assert bodies(reader) == [b"first"]
    path.write_bytes(whole)
    assert bodies(reader) == [b"first", b"second"]
    log.close()


def test_all_is_dropped_only_where_no_entry_is_left(folder: Path) -> None:
    log = open_log(folder)
    log.append([entry(b"one"), entry(b"two")])
    one, two = read_all(log)
    log.drop_all(one.end_offset)
    assert bodies(log) == [b"one", b"two"]
    path = segments(folder)[0]
    with path.open("ab") as file:
        file.write(b"left of a kill, planted-secret")
    log.drop_all(two.end_offset)
    assert segments(folder) == []
    log.append([entry(b"three")])
    (three,) = read_all(log)
    assert three.seq == 3
    assert three.end_offset > two.end_offset
    log.close()


def test_what_was_dropped_takes_no_room_while_its_writer_still_has_it_open(folder: Path) -> None:
    log = open_log(folder)
    log.append([entry(b"x" * 1_000_000)])
    held = os.open(segments(folder)[0], os.O_RDONLY)
    open_log(folder).drop_all(read_all(log)[0].end_offset)
    assert os.fstat(held).st_blocks == 0
    os.close(held)
    log.close()


def test_the_end_is_known_to_one_who_only_looks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry_log, "SEGMENT_BYTES", 500)
    log, looking = open_log(folder), open_log(folder)
    assert looking.tail_offset() == 0
    for number in range(10):
        log.append([entry(b"x" * 200)])
        last = read_all(log)[-1]
        assert looking.tail_offset() == last.end_offset
        assert looking.tail_seq() == last.seq == number + 1
    log.drop_all(last.end_offset)
    assert looking.tail_offset() == 0
    log.append([entry(b"x")])
    assert looking.tail_offset() == read_all(log)[-1].end_offset > last.end_offset
    log.close()
