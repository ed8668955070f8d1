"""The entry log: raw requests in append-only files, each written once and flushed before it is acknowledged.

A folder of *segments*, each named by the offset at which it begins. Offsets count every byte ever written, so that a
backlog is a difference. Writers take turns by a lock on the folder. A writer appends only to the segment that it began
itself; one that cannot be sure of its segment begins another. A segment's random id is part of the name of each of its
entries: no two entries ever share a name, not even where a loss of power takes back what a reader had already seen.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import stat
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from inferometer.store import log_records
from inferometer.store.log_records import SEGMENT_HEADER_BYTES, NewEntry, RecordHead

SEGMENT_BYTES = 16 * 1024 * 1024
"""Size at which a segment is followed by the next; a record is never divided."""

READ_AHEAD_BYTES = 8 * 1024 * 1024
"""What is asked of a disk at once when it is read from: a group of the normaliser's."""

_SUFFIX = ".log"
_SEALED = stat.S_IRUSR
_OPEN = stat.S_IRUSR | stat.S_IWUSR
_flush = getattr(os, "fdatasync", os.fsync)

log = logging.getLogger("inferometer.store")


@dataclass(slots=True, frozen=True)
class Entry:
    """One journalled request; ``end_offset`` is where it ends in the log."""

    seq: int
    entry_id: bytes
    received_ns: int
    signal: str
    encoding: str
    compression: str
    items: int
    end_offset: int
    body: bytes


@dataclass(slots=True)
class _OwnSegment:
    fd: int
    base: int
    size: int
    next_seq: int


class EntryLog:
    """The segments of one folder.

    Args:
        folder: made with mode 0700 when it is first written to.
        floor: returns a number and an offset that were reached before, whatever is left of the segments.
    """

    def __init__(self, folder: Path, floor: Callable[[], tuple[int, int]]) -> None:
        self._folder = folder
        self._floor = floor
        self._own: _OwnSegment | None = None
        self._counted = (0, 0)
        self._newest = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the segment that is written to; the next writer begins another."""
        if self._own is not None:
            os.close(self._own.fd)
            self._own = None

    # Writing.

    def append(self, entries: Sequence[NewEntry]) -> None:
        """Write entries; on return they survive a crash and a loss of power.

        Raises:
            OSError: they could not be written; nothing of them is kept.
        """
        with self._turn():
            own = self._own_segment()
            parts: list[bytes] = []
            for seq, entry in enumerate(entries, own.next_seq):
                parts += (log_records.encode_head(seq, entry), entry.body)
            begin = own.size
            own.size += sum(len(part) for part in parts)
            own.next_seq += len(entries)
            try:
                log_records.write_all(own.fd, parts, begin)
                _flush(own.fd)
            except BaseException:
                # it may have been read: neither these offsets nor these names may come again
                os.fchmod(own.fd, _SEALED)
                os.ftruncate(own.fd, begin)
                raise

    def adopt(self, entries: Iterator[tuple[int, NewEntry]], segment_id: bytes) -> dict[int, int]:
        """Write entries that have numbers already into a segment of a given id; returns each one's end offset."""
        with self._turn():
            self._unlink_all()  # left of an attempt that failed
            own = self._begin(segment_id)
            ends = {}
            try:
                for seq, entry in entries:
                    parts = (log_records.encode_head(seq, entry), entry.body)
                    log_records.write_all(own.fd, parts, own.size)
                    own.size += sum(len(part) for part in parts)
                    ends[seq] = own.base + own.size
                os.fchmod(own.fd, _SEALED)
                os.fsync(own.fd)
            finally:
                os.close(own.fd)
        return ends

    def _own_segment(self) -> _OwnSegment:
        own = self._own
        if own is not None:
            state = os.fstat(own.fd)
            if (
                own.size < SEGMENT_BYTES
                and state.st_size == own.size
                and state.st_nlink
                and state.st_mode & stat.S_IWUSR
            ):
                return own
        self._own = self._begin(secrets.token_bytes(8))
        if own is not None:
            _forget_pages(own.fd)
            os.close(own.fd)
        return self._own

    def _begin(self, segment_id: bytes) -> _OwnSegment:
        seq, base = self._floor()
        if self._own is not None:
            seq, base = max(seq, self._own.next_seq - 1), max(base, self._own.base + self._own.size)
        if bases := self._bases():
            newest = self._path(bases[-1])
            newest.chmod(_SEALED)
            seq, base = max(seq, self.tail_seq()), max(base, bases[-1] + max(newest.stat().st_size, 1))
        path, head = self._path(base), log_records.encode_segment_header(segment_id, seq + 1)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _OPEN)
        try:
            log_records.write_all(fd, [head], 0)
            _flush_folder(self._folder)
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        return _OwnSegment(fd, base, len(head), seq + 1)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Take the writers' turn, among threads and processes."""
        with self._lock:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700)
                _flush_folder(self._folder.parent)
            with _opened(self._folder) as fd:
                fcntl.flock(fd, fcntl.LOCK_EX)
                yield

    # Reading.

    def read(self, offset: int, *, max_items: int, max_bytes: int) -> list[Entry]:
        """Return the oldest entries from an offset on: at least one where there is any."""
        found: list[Entry] = []
        items = size = 0
        for entry in self._entries(offset):
            items += entry.items
            size += len(entry.body)
            if found and (items > max_items or size > max_bytes):
                break
            found.append(entry)
        return found

    def _entries(self, offset: int, *, is_quiet: bool = False) -> Iterator[Entry]:
        for fd, base, is_complete in self._segments(offset):
            header = log_records.read_segment_header(fd)
            if header is None:
                continue
            limit = os.fstat(fd).st_size
            position = max(offset - base, SEGMENT_HEADER_BYTES)
            _ask_for_pages(fd, position)
            while position < limit:
                head = log_records.read_head(fd, position, limit)
                body = None if head is None else log_records.read_body(fd, head)
                if head is not None and body is not None:
                    yield _entry(header[0], base, head, body)
                    position = head.end
                elif is_complete or is_quiet:
                    damaged, position = position, log_records.find_sound(fd, position, limit)
                    log.error("journal is damaged; skipped", extra={"segment": base, "bytes": position - damaged})
                else:
                    return  # it is being written

    def oldest_received_ns(self, offset: int) -> int | None:
        """Return when the first entry from an offset on was received; None where there is none."""
        for fd, base, _ in self._segments(offset):
            position = max(offset - base, SEGMENT_HEADER_BYTES)
            for head in log_records.read_heads(fd, position, os.fstat(fd).st_size):
                return head.received_ns
        return None

    def tail_offset(self) -> int:
        """Return where the log ends; 0 where it has no segment."""
        # a segment that is still open has no follower, so that a long backlog need not be listed
        if (end := self._end_of(self._newest)) is not None:
            return end
        for base in reversed(self._bases()):
            self._newest = base
            with contextlib.suppress(FileNotFoundError):
                return base + self._path(base).stat().st_size
        return 0

    def _end_of(self, base: int) -> int | None:
        try:
            state = self._path(base).stat()
        except FileNotFoundError:
            return None
        return base + state.st_size if state.st_mode & stat.S_IWUSR else None

    def tail_seq(self) -> int:
        """Return the number of the last entry; 0 where nothing tells."""
        offset, seq = self._counted
        for base in reversed(self._bases()):
            with contextlib.suppress(FileNotFoundError), _opened(self._path(base)) as fd:
                if header := log_records.read_segment_header(fd):
                    seq = max(seq, header[1] - 1)
                    position = max(offset - base, SEGMENT_HEADER_BYTES)
                    for head in log_records.read_heads(fd, position, os.fstat(fd).st_size):
                        offset, seq = base + head.end, max(seq, head.seq)
                    break
        self._counted = offset, seq
        return seq

    def end(self) -> tuple[int, int]:
        """Return the number and the offset that the log ends with, while nobody writes."""
        with self._turn():
            return self.tail_seq(), self.tail_offset()

    def _segments(self, offset: int) -> Iterator[tuple[int, int, bool]]:
        # listed first: a segment that has a follower by now is complete when it is read
        bases = self._bases()
        for base in bases[max(bisect_right(bases, offset) - 1, 0) :]:
            # one that is gone has been passed by every consumer
            with contextlib.suppress(FileNotFoundError), _opened(self._path(base)) as fd:
                yield fd, base, base != bases[-1]

    # Deleting.

    def drop_before(self, offset: int) -> None:
        """Unlink the segments that end before an offset, but for the last."""
        bases = self._bases()
        for base, follower in pairwise(bases):
            if follower <= offset:
                _erase(self._path(base))

    def drop_all(self, offset: int) -> None:
        """Unlink every segment where no entry is left from an offset on."""
        if not self._bases():
            return
        with self._turn():
            if next(self._entries(offset, is_quiet=True), None) is None:
                self._unlink_all()

    def _unlink_all(self) -> None:
        for base in self._bases():
            _erase(self._path(base))

    def _bases(self) -> list[int]:
        try:
            with os.scandir(self._folder) as files:
                return sorted(int(file.name.removesuffix(_SUFFIX)) for file in files if file.name.endswith(_SUFFIX))
        except FileNotFoundError:
            return []

    def _path(self, base: int) -> Path:
        return self._folder / f"{base:020}{_SUFFIX}"


def _entry(segment_id: bytes, base: int, head: RecordHead, body: bytes) -> Entry:
    return Entry(
        head.seq,
        segment_id + head.seq.to_bytes(8, "big"),
        head.received_ns,
        head.signal,
        head.encoding,
        head.compression,
        head.items,
        base + head.end,
        body,
    )


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def _erase(path: Path) -> None:
    # emptied first: a writer that has it open would keep its bytes on a disk that may be full
    with contextlib.suppress(FileNotFoundError):
        path.chmod(_OPEN)
        os.truncate(path, 0)
        path.unlink()


def _ask_for_pages(fd: int, position: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, position, READ_AHEAD_BYTES, os.POSIX_FADV_WILLNEED)


def _forget_pages(fd: int) -> None:
    # a long backlog would fill the machine's memory with pages that are read once more, much later
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def _flush_folder(folder: Path) -> None:
    with _opened(folder) as fd:
        os.fsync(fd)
