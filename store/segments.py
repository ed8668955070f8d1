"""Prefix chains as segments: each holds only the blocks that no earlier chain had.

Segments form a forest: one begins at ``position`` blocks below its root, after the first ``position`` blocks of its
parent's chain. A call's chain is (segment, number of blocks). Which segment that is depends on the order of arrival;
the chain it stands for does not. A segment is never changed; it lives while a call or another segment needs it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.engine import Connection

from inferometer.schema.records import PrefixChain
from inferometer.store.chunks import rows_with
from inferometer.store.tables import PREFIX_SEGMENTS as TABLE
from inferometer.store.writers.base import Row

HASH_BYTES = 8
_FETCH = 2000

Scope = tuple[str, str, int]


@dataclass(slots=True, frozen=True)
class Segment:
    """Blocks that follow the first ``position`` blocks of the parent's chain."""

    segment_id: bytes
    parent_id: bytes | None
    position: int
    hashes: bytes
    scope: Scope

    @property
    def end(self) -> int:
        """Number of blocks in the longest chain that this segment stands for."""
        return self.position + len(self.hashes) // HASH_BYTES

    @property
    def row(self) -> Row:
        """The ``prefix_segments`` row."""
        key_id, vocabulary, block_tokens = self.scope
        return (
            self.segment_id,
            self.parent_id,
            self.position,
            self.hashes[:HASH_BYTES],
            self.hashes,
            block_tokens,
            vocabulary,
            key_id,
        )


def segment_of(row: Any) -> Segment:
    """Return the segment of a ``prefix_segments`` row."""
    segment_id, parent_id, position, _, hashes, block_tokens, vocabulary, key_id = row
    return Segment(segment_id, parent_id, position, hashes, (key_id, vocabulary, block_tokens))


def shared_blocks(one: bytes, other: bytes) -> int:
    """Return how many leading blocks two runs of hashes share, by bisection."""
    low, high = 0, min(len(one), len(other)) // HASH_BYTES
    if one[: high * HASH_BYTES] == other[: high * HASH_BYTES]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low * HASH_BYTES : middle * HASH_BYTES] == other[low * HASH_BYTES : middle * HASH_BYTES]:
            low = middle
        else:
            high = middle
    return low


class SegmentPlacer:
    """Finds or makes the segment of each chain within one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._by_first: dict[bytes, list[Segment]] = {}
        self._new: list[Segment] = []

    def place(self, chain: PrefixChain) -> tuple[bytes | None, int]:
        """Return (segment id, blocks) of a chain; new segments wait for `take_rows`."""
        scope = (chain.key_id, chain.vocabulary, chain.block_tokens)
        total = chain.blocks
        parent: Segment | None = None
        position = 0
        while position < total:
            rest = chain.hashes[position * HASH_BYTES : total * HASH_BYTES]
            found, shared = self._longest(scope, parent, position, rest)
            if found is None:
                parent = self._make(scope, parent, position, rest)
                position = total
            else:
                parent = found
                position += shared
        return (parent.segment_id if parent else None), total

    def take_rows(self) -> list[Row]:
        """Return the rows of the segments made since the last call."""
        rows = [segment.row for segment in self._new]
        self._new.clear()
        return rows

    def _longest(self, scope: Scope, parent: Segment | None, position: int, rest: bytes) -> tuple[Segment | None, int]:
        parent_id = parent.segment_id if parent else None
        best: Segment | None = None
        most = 0
        for segment in self._beginning_with(rest[:HASH_BYTES]):
            if segment.parent_id == parent_id and segment.position == position and segment.scope == scope:
                shared = shared_blocks(segment.hashes, rest)
                if shared > most:
                    best, most = segment, shared
        return best, most

    def _beginning_with(self, first_hash: bytes) -> list[Segment]:
        known = self._by_first.get(first_hash)
        if known is None:
            query = _ALL.where(TABLE.c.first_hash == first_hash)
            known = [segment_of(row) for row in self._connection.execute(query)]
            self._by_first[first_hash] = known
        return known

    def _make(self, scope: Scope, parent: Segment | None, position: int, rest: bytes) -> Segment:
        parent_id = parent.segment_id if parent else None
        text = f"{scope}\x1f{position}\x1f".encode("utf-8", "surrogatepass") + (parent_id or b"") + rest
        digest = blake2b(text, digest_size=16, person=b"inferometer.seg").digest()
        segment = Segment(digest, parent_id, position, rest, scope)
        self._beginning_with(rest[:HASH_BYTES]).append(segment)
        self._new.append(segment)
        return segment


_ALL: Select[Any] = select(*TABLE.columns)


class SegmentReader:
    """Expands (segment, blocks) back into chains, loading each segment once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._segments: dict[bytes, Segment] = {}
        self._chains: dict[bytes, bytes | None] = {}

    def load_where(self, condition: ColumnElement[bool] | None) -> None:
        """Load the segments that a condition names, or all, and everything above them.

        One query takes a third of the time that naming each segment does.
        """
        query = _ALL if condition is None else _ALL.where(condition)
        for rows in self._connection.execution_options(yield_per=_FETCH).execute(query).partitions():
            self._segments.update((row[0], segment_of(row)) for row in rows)
        if condition is not None:
            self.load({parent for segment in self._segments.values() if (parent := segment.parent_id) is not None})

    def load(self, segment_ids: Iterable[bytes]) -> None:
        """Load segments and everything above them."""
        wanted = {segment_id for segment_id in segment_ids if segment_id not in self._segments}
        while wanted:
            parents: set[bytes] = set()
            for row in rows_with(self._connection, _ALL, TABLE.c.segment_id, sorted(wanted)):
                segment = segment_of(row)
                self._segments[segment.segment_id] = segment
                if segment.parent_id is not None:
                    parents.add(segment.parent_id)
            wanted = parents - self._segments.keys()

    def expand(self, segment_id: bytes, blocks: int) -> PrefixChain | None:
        """Return the chain of a call; None where one of its segments is gone."""
        chain = self._chain(segment_id)
        if chain is None:
            return None
        key_id, vocabulary, block_tokens = self._segments[segment_id].scope
        # a slice of the whole is the whole: calls with equal chains share their bytes
        return PrefixChain(chain[: blocks * HASH_BYTES], block_tokens, vocabulary, key_id)

    def _chain(self, segment_id: bytes) -> bytes | None:
        """Return the longest chain that a segment stands for, joined once to its parent's."""
        waiting: list[Segment] = []
        at: bytes | None = segment_id
        while at is not None and at not in self._chains:
            segment = self._segments.get(at)
            if segment is None:
                self._chains[at] = None
                break
            waiting.append(segment)
            at = segment.parent_id
        chain = self._chains[at] if at is not None else b""
        for segment in reversed(waiting):
            if chain is not None:
                chain = chain[: segment.position * HASH_BYTES] + segment.hashes
            self._chains[segment.segment_id] = chain
        return chain
