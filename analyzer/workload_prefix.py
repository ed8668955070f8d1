"""The tree of shared prompt prefixes of a workload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer import _replay
from inferometer.schema.records import PrefixChain

_COUNTED_VOCABULARY = "o200k_base"
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_BELIEVABLE_SCALE = (0.8, 1.6)
"""Tokens of a model's own vocabulary over those of `o200k_base`; outside of this, chains must leave something out."""


@dataclass(frozen=True, slots=True)
class PrefixForest:
    """Chains of prompt blocks as a tree of segments: runs of blocks that no chain leaves or ends inside.

    Args:
        leaf: int32, shape (n_calls,): the segment a call's chain ends in, -1 where its prefix is unknown.
        parent: int32, shape (n_segments,): -1 for a root.
        blocks: int32, shape (n_segments,): length.
        block_tokens: prompt tokens of one block, as the workload's models count.
        total_blocks: over all calls.
        unique_blocks: different ones.
    """

    leaf: NDArray[np.int32]
    parent: NDArray[np.int32]
    blocks: NDArray[np.int32]
    block_tokens: int
    total_blocks: int
    unique_blocks: int

    @property
    def hit_rate_infinite(self) -> float | None:
        """Share of prompt blocks that a cache which forgets nothing would hold already; None without prefixes."""
        return 1 - self.unique_blocks / self.total_blocks if self.total_blocks else None

    def hit_rate_infinite_of(self, calls: NDArray[np.bool_]) -> float | None:
        """Return `hit_rate_infinite` of some calls alone; a mask, shape (n_calls,)."""
        total = int(self.chain_blocks()[calls].sum())
        nodes = np.unique(self.leaf[calls & (self.leaf >= 0)])
        held = np.zeros(len(self.blocks), np.bool_)
        while len(nodes):
            held[nodes] = True
            above = np.unique(self.parent[nodes])
            above = above[above >= 0]
            nodes = above[~held[above]]
        return 1 - int(self.blocks[held].sum()) / total if total else None

    def chain_blocks(self) -> NDArray[np.int64]:
        """Return the blocks of each call's chain, int64, shape (n_calls,)."""
        ends = np.append(self.blocks.astype(np.int64), 0)
        above = np.append(self.parent, -1)
        while (above >= 0).any():  # every round looks twice as far up
            ends = ends + np.where(above >= 0, ends[above], 0)
            above = np.where(above >= 0, above[above], -1)
        lengths: NDArray[np.int64] = ends[self.leaf] * (self.leaf >= 0)
        return lengths


_EMPTY = np.zeros(0, np.int32)
NO_PREFIXES = PrefixForest(_EMPTY, _EMPTY, _EMPTY, 64, 0, 0)
"""Of a workload without calls; with `leaf` replaced, of one whose prefixes are unknown."""


def build_forest(
    chains: Sequence[PrefixChain | None], input_tokens: Sequence[int], warnings: Counter[str]
) -> PrefixForest:
    """Return the tree of calls' chains; chains of another block size than most are left out and counted.

    Args:
        chains: one per call, None where unknown.
        input_tokens: of the same calls, as their models count.
        warnings: counts are added to it.
    """
    sizes: Counter[int] = Counter()
    for chain in chains:
        if chain is not None:
            sizes[chain.block_tokens] += chain.blocks
    block_tokens = max(sizes, key=lambda size: (sizes[size], size), default=64)
    kept = [chain if chain is not None and chain.block_tokens == block_tokens else None for chain in chains]
    warnings["unknown_prefix"] += sum(chain is None for chain in chains)
    warnings["prefix_of_other_block_size"] += sum(chain is not None for chain in chains) - sum(
        chain is not None for chain in kept
    )
    hashes = [_NONE if chain is None else _scoped(chain) for chain in kept]
    scale = _vocabulary_scale(kept, input_tokens)
    forest, unchained = forest_of(hashes, max(1, round(block_tokens * scale)))
    warnings["unchained_prefix"] += unchained
    for kind in ("unknown_prefix", "prefix_of_other_block_size", "unchained_prefix"):
        if not warnings[kind]:
            del warnings[kind]
    return forest


def forest_of(hashes: Sequence[NDArray[np.uint64]], block_tokens: int) -> tuple[PrefixForest, int]:
    """Return the tree of chains given as uint64 hashes, each covering all before it, and how many were no chains."""
    offsets = np.zeros(len(hashes) + 1, np.int64)
    np.cumsum([len(chain) for chain in hashes], out=offsets[1:])
    flat = np.concatenate(hashes) if hashes else _NONE
    leaf, parent, blocks, unique, unchained = _replay.build_tree(offsets, np.ascontiguousarray(flat, np.uint64))
    return PrefixForest(
        leaf=_ints(leaf),
        parent=_ints(parent),
        blocks=_ints(blocks),
        block_tokens=block_tokens,
        total_blocks=len(flat),
        unique_blocks=unique,
    ), unchained


_NONE = np.zeros(0, np.uint64)


def _ints(data: bytes) -> NDArray[np.int32]:
    return np.frombuffer(data, np.int32)


def _scoped(chain: PrefixChain) -> NDArray[np.uint64]:
    """Return a chain's hashes, made different from the same ones of another key or vocabulary."""
    scope = f"{chain.key_id}\x1f{chain.vocabulary}".encode()
    digest = int.from_bytes(blake2b(scope, digest_size=8, person=b"inferometer.scp").digest(), "little")
    hashes: NDArray[Any] = np.frombuffer(chain.hashes, "<u8").astype(np.uint64)
    return (hashes * _SPREAD) ^ np.uint64(digest)


def _vocabulary_scale(chains: Sequence[PrefixChain | None], input_tokens: Sequence[int]) -> float:
    """Return how many tokens a call's own model counts for one of `o200k_base`, over all calls hashed with it."""
    own = counted = 0.0
    for chain, tokens in zip(chains, input_tokens, strict=True):
        if chain is not None and chain.vocabulary == _COUNTED_VOCABULARY:
            own += tokens
            counted += (chain.blocks + 0.5) * chain.block_tokens  # the last block is half full on average
    scale = own / counted if counted else 1.0
    return scale if _BELIEVABLE_SCALE[0] <= scale <= _BELIEVABLE_SCALE[1] else 1.0
