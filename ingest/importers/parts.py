"""One large JSON document as many small ones of its shape, so that memory does not grow with the document.

``{"resource": R, "spans": [a, b, c]}`` is read as ``{"resource": R, "spans": [a, b]}`` and
``{"resource": R, "spans": [c]}``: what is said once before a list is said around each part of it. Lists are cut between
their elements where a part is full; only an element that is larger than a part is opened, and only by the keys that its
format names. The cutting sees no more of JSON than strings and brackets; each part is then parsed as any document is.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import orjson

PART_BYTES = 2**20
"""Size of a part; one element that cannot be opened makes a larger one."""

SKETCH_BYTES = 2**20
"""How much of the beginning of a large document its format is told by."""

_DEPTH = 64
"""Nesting that one pattern skips; what is deeper is counted bracket by bracket."""


@dataclass(frozen=True, slots=True)
class Cuts:
    """Where a list may be cut.

    Args:
        keys: names of those members of its elements, or of an object, that hold lists which may be cut in turn, or
            objects that hold such lists.
        needs: names of members without one of which its parts would say less than the whole: where none of them stands
            before the list, the list is held until its object ends.
        rest: whether a document of which parts were told is told again at its end, without its lists: for a format
            that makes one of them all, to which it does not matter what stands before a list and what after.
    """

    keys: Mapping[str, Cuts] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    rest: bool = False


BETWEEN = Cuts()
"""Between its elements, which are never opened."""


def _patterns() -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return patterns of one value that is followed by its end, and of as many whole elements of a list as there are.

    All repetitions are possessive: they take what they can and never try again, so the time is linear.
    """
    string = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
    between = rb'[^\[\]{}"]++'
    nested = rb"[\[{](?:" + string + rb"|" + between + rb")*+[\]}]"
    for _ in range(_DEPTH):
        nested = rb"[\[{](?:" + string + rb"|" + between + rb"|" + nested + rb")*+[\]}]"
    value = rb"(?:" + string + rb"|" + nested + rb'|[^\s\[\]{}",:]++)'
    followed = rb"(?=\s*+[,:\]}])"
    element = rb"\s*+" + value + rb"\s*+"
    elements = rb"(?:" + element + rb",)*+(?:" + element + rb"(?=\]))?+"
    return re.compile(value + followed, re.DOTALL), re.compile(elements, re.DOTALL)


_VALUE, _ELEMENTS = _patterns()
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{}]', re.DOTALL)
_MARK = re.compile(_TOKEN.pattern + rb"|,", re.DOTALL)
_OPENED = frozenset({b"{", b"[", b'"'})
_SPACE = re.compile(rb"[ \t\r\n]*+")


def read_parts(stream: BinaryIO, cuts: Cuts, part_bytes: int = PART_BYTES) -> Iterator[Any]:
    """Yield documents that together say what the documents of a stream say.

    Args:
        stream: JSON documents, one after the other; usually one.
        cuts: where its lists may be cut.
        part_bytes: size of a part.

    Raises:
        ValueError: it is not JSON.
    """
    reader = _Reader(stream, part_bytes)
    if reader.peek() == b"\xef":
        reader.take(b"\xef\xbb\xbf")
    is_told = False
    while start := reader.peek():
        if cuts.rest and is_told:
            raise ValueError(reader.describe("one document is over"))
        is_told = True
        parts = reader.elements(cuts, b"[", b"]") if start == b"[" else reader.object(cuts, b"", b"")
        for part in parts:
            yield orjson.loads(part)


def sketch(head: bytes) -> Any:
    """Return what the beginning of a document says, what is open ended there; None where it is no JSON."""
    ends: list[bytes] = []
    cut = 0, b""
    for token in _MARK.finditer(head[:SKETCH_BYTES]):
        mark = token[0]
        if mark == b",":
            cut = token.start(), b"".join(reversed(ends))
        elif mark in b"{[":
            ends.append(b"}" if mark == b"{" else b"]")
        elif mark in b"}]":
            if not ends:
                return None
            ends.pop()
        elif mark == b'"':
            break
    try:
        return orjson.loads(head[: cut[0]].removeprefix(b"\xef\xbb\xbf") + cut[1])
    except orjson.JSONDecodeError:
        return None


class _Reader:
    def __init__(self, stream: BinaryIO, part_bytes: int) -> None:
        self.stream = stream
        self.part_bytes = part_bytes
        self.buffer = b""
        self.at = 0
        self.ended = False

    def fill(self, size: int) -> None:
        """Hold that many bytes from here on, or all that are left."""
        missing = size - (len(self.buffer) - self.at)
        if missing <= 0 or self.ended:
            return
        pieces = [self.buffer[self.at :]]
        while missing > 0:
            piece = self.stream.read(missing)
            self.ended = not piece
            if self.ended:
                break
            pieces.append(piece)
            missing -= len(piece)
        self.buffer, self.at = b"".join(pieces), 0

    def peek(self) -> bytes:
        """Return the next byte that is not a space; nothing at the end."""
        while True:
            space = _SPACE.match(self.buffer, self.at)
            self.at = space.end() if space else self.at
            if self.at < len(self.buffer) or self.ended:
                return self.buffer[self.at : self.at + 1]
            self.fill(self.part_bytes)

    def take(self, expected: bytes) -> None:
        self.peek()
        self.fill(len(expected))
        if not self.buffer.startswith(expected, self.at):
            raise ValueError(self.describe(f"{expected.decode(errors='replace')!r} is missing"))
        self.at += len(expected)

    def describe(self, fault: str) -> str:
        return f"{fault} where it says {self.buffer[self.at : self.at + 20].decode(errors='replace')!r}"

    def value(self) -> bytes:
        """Return the next value whole."""
        self.peek()
        self.fill(self.part_bytes)
        while not (found := _VALUE.match(self.buffer, self.at)) and self.buffer[self.at : self.at + 1] not in _OPENED:
            if self.ended:
                raise ValueError(self.describe("no value"))
            self.fill(2 * (len(self.buffer) - self.at) + 1)  # a number that goes on beyond the buffer
        end = found.end() if found else self.counted_end()
        value, self.at = self.buffer[self.at : end], end
        return value

    def counted_end(self) -> int:
        """Return where a value ends that is deep, or larger than a part, or broken."""
        depth, here = 0, 0
        while True:
            for token in _TOKEN.finditer(self.buffer, self.at + here):
                if token[0] == b'"':
                    break  # a string that goes on beyond the buffer
                here = token.end() - self.at
                depth += (token[0] in b"{[") - (token[0] in b"}]")
                if depth <= 0:
                    return self.at + here
            if self.ended:
                raise ValueError("ends within a value")
            self.fill(2 * (len(self.buffer) - self.at))

    def goes_on(self, end: bytes) -> bool:
        """Step over what follows a member or an element, and return whether there is another one."""
        if self.peek() != b",":
            self.take(end)
            return False
        self.at += 1
        if self.peek() == end:
            raise ValueError(self.describe("one more is missing"))
        return True

    def elements(self, cuts: Cuts, before: bytes, after: bytes) -> Iterator[bytes]:
        """Yield what a list holds, part by part between two texts."""
        self.take(b"[")
        goes_on = self.peek() != b"]" or self.goes_on(b"]")
        while goes_on:
            start = self.peek()
            self.fill(self.part_bytes)
            run = _ELEMENTS.match(self.buffer, self.at)
            if run is not None and run[0]:
                held = run[0].rstrip().removesuffix(b",")
                self.at += len(held)
                yield before + held + after
            elif cuts.keys and start == b"{":
                yield from self.object(cuts, before, after)
            elif cuts.keys and start == b"[":
                yield from self.elements(cuts, before + b"[", b"]" + after)
            else:
                yield before + self.value() + after
            goes_on = self.goes_on(b"]")

    def object(self, cuts: Cuts, before: bytes, after: bytes) -> Iterator[bytes]:
        """Yield an object, part by part where it holds a list that is cut."""
        rest, is_told = yield from self.members(cuts, before, after)
        if cuts.rest or not is_told:
            yield before + rest + after

    def members(self, cuts: Cuts, before: bytes, after: bytes) -> Generator[bytes, None, tuple[bytes, bool]]:
        """Yield the lists of an object that are cut; return the rest of it, and whether any part was yielded."""
        self.take(b"{")
        names: set[str] = set()
        known: list[bytes] = []
        late: list[bytes] = []
        is_told = False
        goes_on = self.peek() != b"}" or self.goes_on(b"}")
        while goes_on:
            if self.peek() != b'"':
                raise ValueError(self.describe("no name"))
            key = self.value() + b":"
            self.take(b":")
            name, start = orjson.loads(key[:-1]), self.peek()
            names.add(name)
            inner = cuts.keys.get(name)
            told = b",".join([*known, key])
            if inner is not None and start == b"{":
                inner_rest, was_told = yield from self.members(inner, before + b"{" + told, b"}" + after)
                known.append(key + inner_rest)
                is_told |= was_told
            elif inner is not None and start == b"[":
                is_late = bool(inner.needs) and inner.needs.isdisjoint(names)
                ends = (key + b"[", b"]") if is_late else (before + b"{" + told + b"[", b"]}" + after)
                was_told = False
                for part in self.elements(inner, *ends):
                    was_told = True
                    if is_late:
                        late.append(part)
                    else:
                        yield part
                if not was_told:
                    known.append(key + b"[]")
                is_told |= was_told
            else:
                known.append(key + self.value())
            goes_on = self.goes_on(b"}")
        for part in late:
            yield before + b"{" + b",".join([*known, part]) + b"}" + after
        rest = b"{" + b",".join(known) + b"}"
        if is_told:
            orjson.loads(rest)  # what comes after the last part is in none
        return rest, is_told
