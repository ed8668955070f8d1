"""Files opened for import: plain, gzip or zstd, a path or the standard input."""

from __future__ import annotations

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, BinaryIO, cast

import orjson

from inferometer.ingest.importers.importer import HEAD_BYTES, Options, Source, parse
from inferometer.ingest.importers.parts import sketch
from inferometer.schema.errors import InputError

STDIN = PurePath("-")

WHOLE_BYTES = 16 * 2**20
"""Size up to which a document is held whole, uncompressed."""

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_LINES_TRIED = 5


@contextmanager
def open_source(path: PurePath, options: Options) -> Iterator[Source]:
    """Open one file, uncompressed.

    Raises:
        InputError: it cannot be read, is empty, or its compression is broken.
    """
    try:
        with _opened(path) as raw:
            yield _source(path, raw, options)
    except (OSError, EOFError, zlib.error) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise InputError(str(path), f"cannot be read: {reason}") from error


@contextmanager
def _opened(path: PurePath) -> Iterator[BinaryIO]:
    if path == STDIN:
        with _uncompressed(cast(BinaryIO, sys.stdin.buffer)) as stream:
            yield stream
        return
    with Path(path).open("rb") as file, _uncompressed(file) as stream:
        yield stream


@contextmanager
def _uncompressed(file: BinaryIO) -> Iterator[BinaryIO]:
    magic = file.read(4)
    whole = cast(BinaryIO, io.BufferedReader(_Rejoined(magic, file), HEAD_BYTES))
    if magic.startswith(_GZIP):
        with gzip.GzipFile(fileobj=whole) as stream:
            yield cast(BinaryIO, stream)
    elif magic == _ZSTD:
        import zstandard

        with zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(whole, closefd=False) as reader:
            try:
                yield cast(BinaryIO, io.BufferedReader(reader, HEAD_BYTES))
            except zstandard.ZstdError as error:
                raise OSError(str(error)) from error
    else:
        yield whole


def _source(path: PurePath, raw: BinaryIO, options: Options) -> Source:
    head = raw.read(HEAD_BYTES)
    if not head.strip(b"\0 \t\r\n"):
        raise InputError(str(path), "is empty")
    name = path.name if path != STDIN else "stdin"
    for suffix in (".gz", ".zst"):
        name = name.removesuffix(suffix)
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] not in {b"{", b"["}:
        return Source(name, path, _rejoined(head, raw), head, options=options)
    line: list[bytes] = []
    size = len(head)
    while size < WHOLE_BYTES and (not line or b"\n" not in line[-1]) and b"\n" not in head:
        line.append(raw.read(HEAD_BYTES * 16))
        size += len(line[-1])
        if not line[-1]:
            break
    head += b"".join(line)
    next_byte = raw.read(1)
    head, ended = head + next_byte, not next_byte
    first, is_whole = _first_line(head) if ended or b"\n" in head else (None, False)
    if first is not None:
        return Source(name, path, _rejoined(head, raw), head, first, True, is_whole and ended, options=options)
    body = head + raw.read(max(0, WHOLE_BYTES - len(head)))
    next_byte = raw.read(1)
    if next_byte:
        stream = _rejoined(body + next_byte, raw)
        return Source(name, path, stream, head[:HEAD_BYTES], sketch(body), is_large=True, options=options)
    whole = parse(path, body)
    return Source(name, path, _rejoined(b"", raw), head[:HEAD_BYTES], whole, is_whole=True, options=options)


def _first_line(head: bytes) -> tuple[Any, bool]:
    """Return the first of JSON lines, and whether there is no other; (None, _) where the file is one document."""
    lines = head.split(b"\n")
    for line in lines[:_LINES_TRIED]:
        if not line.strip():
            continue
        try:
            value = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
        except orjson.JSONDecodeError:
            continue
        # a line of an indented document may be a value of its own, an object with keys never stands on one
        if isinstance(value, dict) and value:
            return value, not any(rest.strip() for rest in lines[1:])
        return None, False
    return None, False


def _rejoined(head: bytes, rest: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, io.BufferedReader(_Rejoined(head, rest), HEAD_BYTES))


class _Rejoined(io.RawIOBase):
    """Bytes that were read already, and then the rest of their file."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(len(buffer), len(self._head))
        if size:
            buffer[:size] = self._head[:size]
            self._head = self._head[size:]
            return size
        data = self._rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
