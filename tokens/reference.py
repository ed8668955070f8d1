"""The same counting in plain Python: the published patterns through `re`, merging as it is defined.

Slow, and there to be read and to hold the C extension against; INFEROMETER_PURE=1 puts it in its place.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

from inferometer.tokens.unicode_ranges import RANGES
from inferometer.tokens.vocabularies.formats import TokenTable
from inferometer.tokens.vocabularies.patterns import PATTERNS

_MASK = (1 << 64) - 1


class ReferenceVocabulary:
    """A vocabulary with the methods of `_native.Vocabulary`."""

    def __init__(self, table: TokenTable, family: str) -> None:
        self._cutters = cutters(family)
        self._ids = dict(zip(table.tokens, table.ids, strict=True))
        self._whole_pieces = table.whole_pieces
        self._merges: dict[tuple[bytes, bytes], int] | None = None
        if table.merges is not None:
            self._merges = {
                (table.tokens[parents[0]], table.tokens[parents[1]]): rank
                for rank, parents in enumerate(table.merges)
                if parents is not None
            }
        self._ranks = {token: rank for rank, token in enumerate(table.tokens)}

    def count(self, text: str | bytes, /) -> int:
        """Return the number of tokens."""
        return len(self.encode(text))

    count_remembered = count

    def count_till_limit(self, text: str | bytes, limit: int, /) -> int | None:
        """Return the number of tokens, None where there are more than ``limit``."""
        tokens = self.count(text)
        return tokens if tokens <= limit else None

    def count_batch(self, texts: Sequence[str | bytes], threads: int = 1) -> list[int]:
        """Return the number of tokens of each text."""
        return [self.count(text) for text in texts]

    def encode(self, text: str | bytes, /) -> list[int]:
        """Return the token ids."""
        if not isinstance(text, str):
            if not isinstance(text, (bytes, bytearray, memoryview)):
                raise TypeError(f"text must be str or bytes, not {type(text).__name__}")
            text = bytes(text).decode("utf-8", "replace")
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return [self._ids[token] for piece in cut(text, self._cutters) for token in self._merge(piece.encode())]

    def chain(
        self, texts: Sequence[str | bytes], block: int, key: bytes, parent: int = 0, open_ids: bytes = b"", /
    ) -> tuple[int, bytes, int, bytes]:
        """Return tokens, block hashes, the last hash and the open block's ids, as prefix_chain.h defines."""
        ids = list(struct.unpack(f"<{len(open_ids) // 4}I", open_ids))
        tokens, hashes = 0, []
        for text in texts:
            found = self.encode(text)
            tokens += len(found)
            ids += found
        while len(ids) >= block:
            parent = siphash(key, struct.pack(f"<Q{block}I", parent, *ids[:block]))
            hashes.append(struct.pack("<Q", parent))
            del ids[:block]
        return tokens, b"".join(hashes), parent, struct.pack(f"<{len(ids)}I", *ids)

    def _merge(self, piece: bytes) -> list[bytes]:
        if self._whole_pieces and piece in self._ids:
            return [piece]
        parts = [piece[place : place + 1] for place in range(len(piece))]
        while len(parts) > 1:
            ranks = [self._rank(left, right) for left, right in pairwise(parts)]
            best = min(ranks)
            if best == _MASK:
                break
            place = ranks.index(best)
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return parts

    def _rank(self, left: bytes, right: bytes) -> int:
        if self._merges is not None:
            return self._merges.get((left, right), _MASK)
        return self._ranks.get(left + right, _MASK)


def cut(text: str, expressions: Sequence[re.Pattern[str]]) -> Iterator[str]:
    """Yield the pieces: each expression cuts what those before it left over, and what none matches stays whole."""
    if not expressions:
        if text:
            yield text
        return
    first, *others = expressions
    done = 0
    for match in first.finditer(text):
        yield from cut(text[done : match.start()], others)
        yield match.group()
        done = match.end()
    yield from cut(text[done:], others)


@cache
def cutters(family: str) -> tuple[re.Pattern[str], ...]:
    """Return a family's published patterns in the language of `re`, with the properties of Unicode 16.0."""
    return tuple(re.compile(_translate(pattern)) for pattern in PATTERNS[family])


def _translate(pattern: str) -> str:
    pattern = pattern.replace("++$", r"++\Z")  # to `re`, $ also stands before a last line break
    pattern = pattern.replace("&&[^\\p{Han}]", "\\p{-Han}")  # an intersection becomes a mark that _set understands
    pattern = re.sub(r"\[(\^?)((?:\\p\{-?\w+\}|\\.|[^\]\\])+)\]", _set, pattern)
    for name, plain in ((r"\S", f"[^{_ranges('White_Space')}]"), (r"\s", f"[{_ranges('White_Space')}]")):
        pattern = pattern.replace(name, plain)
    return re.sub(r"\\p\{(\w+)\}", lambda match: f"[{_property(match[1])}]", pattern)


def _set(match: re.Match[str]) -> str:
    negated, body = match.groups()
    if "\\p{-Han}" in body:
        han = _points("Han")
        names = re.findall(r"\\p\{(\w+)\}", body)
        points = {point for name in names for part in _parts(name) for point in _points(part)} - han
        return "[" + "".join(map(_escape, sorted(points))) + "]"
    body = re.sub(r"\\p\{(\w+)\}", lambda found: _property(found[1]), body)
    return f"[{negated}{body.replace(chr(92) + 's', _ranges('White_Space'))}]"


def _parts(name: str) -> tuple[str, ...]:
    return ("Lu", "Lt", "Ll", "Lm", "Lo") if name == "L" else (name,)


def _property(name: str) -> str:
    return "".join(map(_ranges, _parts(name)))


def _spans(name: str) -> Iterator[tuple[int, int]]:
    for word in RANGES[name].split():
        first, _, last = word.partition("-")
        yield int(first, 16), int(last or first, 16)


def _points(name: str) -> set[int]:
    return {point for first, last in _spans(name) for point in range(first, last + 1)}


def _ranges(name: str) -> str:
    return "".join(f"{_escape(first)}-{_escape(last)}" for first, last in _spans(name))


def _escape(point: int) -> str:
    return f"\\U{point:08x}"


def siphash(key: bytes, message: bytes) -> int:
    """Return SipHash-2-4 of a message under a key of 16 bytes. Source: Aumasson and Bernstein, SipHash, 2012."""
    low, high = struct.unpack("<QQ", key)
    v: list[int] = [
        low ^ 0x736F6D6570736575,
        high ^ 0x646F72616E646F6D,
        low ^ 0x6C7967656E657261,
        high ^ 0x7465646279746573,
    ]
    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        _sip_rounds(v, 2)
        v[0] ^= word
    v[2] ^= 0xFF
    _sip_rounds(v, 4)
    return int(v[0] ^ v[1] ^ v[2] ^ v[3])


def _sip_rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0] = (v[0] + v[1]) & _MASK
        v[1] = _rotate(v[1], 13) ^ v[0]
        v[0] = _rotate(v[0], 32)
        v[2] = (v[2] + v[3]) & _MASK
        v[3] = _rotate(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & _MASK
        v[3] = _rotate(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & _MASK
        v[1] = _rotate(v[1], 17) ^ v[2]
        v[2] = _rotate(v[2], 32)


def _rotate(value: int, bits: int) -> int:
    return (value << bits | value >> (64 - bits)) & _MASK
