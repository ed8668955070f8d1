"""OTLP traces in protobuf: one export request, or requests each behind its length, as the Collector writes files.

A large request is cut into small ones, as a large JSON document is::

    ExportTraceServiceRequest  1: ResourceSpans  1: Resource
                                                 2: ScopeSpans  1: InstrumentationScope
                                                                2: Span

What stands around a list stands before it, for writers keep to the order of the fields. Only a message that is larger
than a part is opened.

Source: protobuf.dev/programming-guides/encoding; opentelemetry-proto 1.x; OpenTelemetry Collector, `fileexporter`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from inferometer.ingest.importers.importer import Importer, Source
from inferometer.ingest.normalise import normalise
from inferometer.ingest.otlp import decode_traces
from inferometer.schema.errors import InputError
from inferometer.schema.records import RecordBatch

PART_BYTES = 2**20

_LISTS = (1, 2, 2)
"""Numbers of the fields that are cut: resource spans, scope spans, spans."""

_LENGTH_BYTES = 4
_STEP_BYTES = 2**20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Around = tuple[tuple[bytes, int], ...]
"""For each message around a part: its fields so far, and the number of the field in which the part stands."""


def matches(source: Source) -> bool:
    """Return whether a file may hold export requests: it begins with field 1 and holds no text line."""
    return b"\0" in source.head[:4096] and (source.head[:1] == b"\x0a" or _has_lengths(source))


def _has_lengths(source: Source) -> bool:
    return source.head[:1] != b"\x0a" and source.head[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"\x0a"


def read(source: Source) -> Iterator[RecordBatch]:
    """Yield the records of all spans."""
    warnings: Counter[str] = Counter()
    try:
        for request in read_requests(source.stream, has_lengths=_has_lengths(source)):
            raws = decode_traces(request, "protobuf", warnings)
            yield normalise(raws, keep_content=source.options.keep_content, source=source.name)
    except ValueError as error:
        reason = f"not an ExportTraceServiceRequest in protobuf: {error}"
        raise InputError(str(source.path), reason) from error
    yield RecordBatch(warnings=warnings)


def read_requests(stream: BinaryIO, *, has_lengths: bool, part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """Yield export requests that together hold what those of a stream hold.

    Args:
        stream: one request, or several.
        has_lengths: whether each stands behind its length.
        part_bytes: size of a part; a span that is larger makes a larger one.

    Raises:
        ValueError: it ends within a message, or holds what no message does.
    """
    reader = _Reader(stream)
    if not has_lengths:
        yield from _cut(reader, None, _LISTS, (), part_bytes)
        return
    while length := reader.read_some(_LENGTH_BYTES):
        if len(length) < _LENGTH_BYTES:
            raise ValueError("ends within a length")
        yield from _cut(reader, reader.at + int.from_bytes(length, "big"), _LISTS, (), part_bytes)


def _cut(reader: _Reader, end: int | None, lists: tuple[int, ...], around: Around, part_bytes: int) -> Iterator[bytes]:
    """Yield a message as requests, from here to its end, which is that of the stream where None."""
    known: list[bytes] = []
    part: list[bytes] = []
    size = 0
    while reader.at != end:
        tag = reader.varint(may_end=end is None)
        if tag is None:
            break
        number, kind = tag >> 3, tag & 7
        length = reader.varint() or 0 if kind == _BYTES else None
        if end is not None and reader.at + (length or 0) > end:
            raise ValueError("a field is longer than its message")
        if number == lists[0] and length is not None and length > part_bytes and len(lists) > 1:
            if part:
                yield _wrapped([*known, *part], around)
                part, size = [], 0
            inside = (*around, (b"".join(known), number))
            yield from _cut(reader, reader.at + length, lists[1:], inside, part_bytes)
            continue
        field = _varint(tag) + reader.value(kind, length)
        if number != lists[0]:
            known.append(field)
            continue
        part.append(field)
        size += len(field)
        if size >= part_bytes:
            yield _wrapped([*known, *part], around)
            part, size = [], 0
    if part:
        yield _wrapped([*known, *part], around)


def _wrapped(fields: list[bytes], around: Around) -> bytes:
    content = b"".join(fields)
    for known, number in reversed(around):
        content = known + _varint(number << 3 | _BYTES) + _varint(len(content)) + content
    return content


class _Reader:
    def __init__(self, stream: BinaryIO) -> None:
        self.stream = stream
        self.at = 0

    def read_some(self, size: int) -> bytes:
        """Return that many bytes, or all that are left."""
        pieces = []
        while size > 0 and (piece := self.stream.read(min(size, _STEP_BYTES))):
            pieces.append(piece)
            size -= len(piece)
            self.at += len(piece)
        return b"".join(pieces)

    def read(self, size: int) -> bytes:
        found = self.read_some(size)
        if len(found) < size:
            raise ValueError("ends within a message")
        return found

    def varint(self, *, may_end: bool = False) -> int | None:
        """Return a number of seven bits a byte; None at the end of the stream, where it may end."""
        value = 0
        for place in range(10):
            byte = self.stream.read(1)
            if not byte:
                if may_end and not place:
                    return None
                raise ValueError("ends within a message")
            self.at += 1
            value |= (byte[0] & 0x7F) << 7 * place
            if byte[0] < 0x80:
                return value
        raise ValueError("a number of more than ten bytes")

    def value(self, kind: int, length: int | None) -> bytes:
        """Return a field's value as it was written."""
        if length is not None:
            return _varint(length) + self.read(length)
        if kind == _VARINT:
            return _varint(self.varint() or 0)
        if kind not in {_FIXED64, _FIXED32}:
            raise ValueError(f"fields of kind {kind} are not known")
        return self.read(8 if kind == _FIXED64 else 4)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


IMPORTER = Importer(
    name="otlp-protobuf",
    reads="OTLP traces in protobuf: one `ExportTraceServiceRequest`, or several, each behind its length in four bytes "
    "(the Collector's `fileexporter`)",
    matches=matches,
    read=read,
)
