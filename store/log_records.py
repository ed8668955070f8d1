"""The form of a record in the entry log, and how one is found whole again.

::

    segment   magic segment_id first_seq | record | record | ...
    record    magic crc32 | body_bytes items seq received_ns labels_bytes | labels body

Integers are little-endian. The checksum covers everything after itself; labels are signal, encoding and compression.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SEGMENT = struct.Struct("<8s8sQ")
_SEGMENT_MAGIC = b"IFMLOG1\n"
_PREFIX = struct.Struct("<4sI")
_MAGIC = b"\xf1IFE"
_FIELDS = struct.Struct("<IIQqH")
_FIXED_BYTES = _PREFIX.size + _FIELDS.size
_HEAD_BYTES = 128
_MAX_VECTORS = 512

SEGMENT_HEADER_BYTES = _SEGMENT.size

log = logging.getLogger("inferometer.store")


@dataclass(slots=True)
class NewEntry:
    """One request about to be journalled; ``body`` is as sent, still compressed by ``compression``."""

    signal: str
    encoding: str
    compression: str
    items: int
    body: bytes
    received_ns: int


@dataclass(slots=True, frozen=True)
class RecordHead:
    """A record without its body; positions are those in its segment's file."""

    seq: int
    received_ns: int
    items: int
    signal: str
    encoding: str
    compression: str
    body_at: int
    end: int
    crc: int
    crc_so_far: int


def encode_segment_header(segment_id: bytes, first_seq: int) -> bytes:
    """Return what a segment begins with."""
    return _SEGMENT.pack(_SEGMENT_MAGIC, segment_id, first_seq)


def read_segment_header(fd: int) -> tuple[bytes, int] | None:
    """Return a segment's id and the number of its first entry; None where they were never written whole."""
    raw = os.pread(fd, _SEGMENT.size, 0)
    if len(raw) < _SEGMENT.size:
        return None
    magic, segment_id, first_seq = _SEGMENT.unpack(raw)
    return (segment_id, first_seq) if magic == _SEGMENT_MAGIC else None


def encode_head(seq: int, entry: NewEntry) -> bytes:
    """Return what is written before an entry's body."""
    labels = "\n".join((entry.signal, entry.encoding, entry.compression)).encode()
    fields = _FIELDS.pack(len(entry.body), entry.items, seq, entry.received_ns, len(labels)) + labels
    return _PREFIX.pack(_MAGIC, zlib.crc32(entry.body, zlib.crc32(fields))) + fields


def read_head(fd: int, position: int, limit: int) -> RecordHead | None:
    """Return the head of the record at a position; None where there is none that ends before the limit."""
    raw = os.pread(fd, _HEAD_BYTES, position)
    if len(raw) < _FIXED_BYTES or raw[:4] != _MAGIC:
        return None
    crc = _PREFIX.unpack_from(raw)[1]
    body_bytes, items, seq, received_ns, labels_bytes = _FIELDS.unpack_from(raw, _PREFIX.size)
    head_bytes = _FIXED_BYTES + labels_bytes
    labels = raw[_FIXED_BYTES:head_bytes].decode(errors="replace").split("\n")
    end = position + head_bytes + body_bytes
    if len(raw) < head_bytes or len(labels) != 3 or end > limit:
        return None
    so_far = zlib.crc32(raw[_PREFIX.size : head_bytes])
    signal, encoding, compression = labels
    return RecordHead(seq, received_ns, items, signal, encoding, compression, position + head_bytes, end, crc, so_far)


def read_heads(fd: int, position: int, limit: int) -> Iterator[RecordHead]:
    """Return the heads from a position on, unchecked, up to the first that is not whole."""
    while head := read_head(fd, position, limit):
        yield head
        position = head.end


def read_body(fd: int, head: RecordHead) -> bytes | None:
    """Return a record's body; None where the checksum says that it is not what was written."""
    body = os.pread(fd, head.end - head.body_at, head.body_at)
    return body if zlib.crc32(body, head.crc_so_far) == head.crc else None


def find_sound(fd: int, position: int, limit: int) -> int:
    """Return the position of the next record that is whole, the limit where there is none."""
    rest = os.pread(fd, limit - position, position)
    at = rest.find(_MAGIC, 1)
    while at >= 0:
        head = read_head(fd, position + at, limit)
        if head is not None and read_body(fd, head) is not None:
            break
        at = rest.find(_MAGIC, at + 1)
    return limit if at < 0 else position + at


def write_all(fd: int, parts: Sequence[bytes], position: int) -> None:
    """Write pieces one after the other."""
    for first in range(0, len(parts), _MAX_VECTORS):
        vector: list[bytes | memoryview] = list(parts[first : first + _MAX_VECTORS])
        while vector:
            written = os.pwritev(fd, vector, position)
            position += written
            while vector and written >= len(vector[0]):
                written -= len(vector.pop(0))
            if vector and written:
                vector[0] = memoryview(vector[0])[written:]
