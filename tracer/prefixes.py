"""Which part of a call's prefix an earlier call of this process had already: a span carries only what is new.

A block's hash covers everything before it, so the longest shared prefix is found by bisection over known hashes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import NamedTuple

HASH_BYTES = 8
BLOCKS_KEPT = 65_536
"""Hashes kept to find shared prefixes by: four million tokens at 64 a block, some 10 MB."""


class Segment(NamedTuple):
    """A chain as (base, shared, new): `shared` blocks of the base's chain, then the hashes that are new."""

    base: str | None
    shared: int
    new: bytes


class PrefixMemory:
    """The chains of recent spans; bounded and thread-safe."""

    def __init__(self, blocks: int = BLOCKS_KEPT) -> None:
        self._blocks = blocks
        self._owners: dict[bytes, str] = {}
        self._chains: OrderedDict[str, list[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def place(self, span: str, hashes: bytes) -> Segment:
        """Return a chain as what is new in it, and remember it.

        Args:
            span: id of the span whose chain it is: its trace's and its own in hex.
            hashes: 8 bytes a block.
        """
        blocks = [hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES)]
        with self._lock:
            low, high = 0, len(blocks)
            while low < high:
                middle = (low + high + 1) // 2
                if blocks[middle - 1] in self._owners:
                    low = middle
                else:
                    high = middle - 1
            base = self._owners[blocks[low - 1]] if low else None
            new = blocks[low:]
            if len(new) <= self._blocks:
                self._remember(span, new)
            return Segment(base, low, b"".join(new))

    def _remember(self, span: str, new: list[bytes]) -> None:
        for block in new:
            self._owners[block] = span
        self._chains[span] = new
        while len(self._owners) > self._blocks:
            _, oldest = self._chains.popitem(last=False)
            for block in oldest:
                self._owners.pop(block, None)

    def clear(self) -> None:
        """Forget all chains, as a new destination must."""
        with self._lock:
            self._owners.clear()
            self._chains.clear()

    def after_fork(self) -> None:
        """Forget all chains in a forked child, where the lock may have been left held by a thread that is not there."""
        self._lock = threading.Lock()
        self.clear()
