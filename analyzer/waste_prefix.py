"""What of each call's input an earlier call had sent before, from prefix block hashes.

Hashes are chained: a block's hash covers all before it, so a block that was seen before means that everything up to it
was, and the number of seen blocks is the length of the shared prefix. One sort over all blocks answers for every call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.audit_dataset import CostedCall

Pool = tuple[str, ...]
NEVER_NS = np.iinfo(np.int64).max
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(slots=True, frozen=True)
class Reach:
    """How much of one call's input could have been read from a cache, in blocks of its chain.

    Attributes:
        blocks: length of the chain.
        seen: blocks that any earlier call of the pool had sent.
        alive: blocks that were sent before, not longer than the time to live ago, by a call that had ended.
        recurring: blocks that at least one other call of the pool sends.
        read_later: blocks that a later call could still read in time.
    """

    blocks: int
    seen: int
    alive: int
    recurring: int
    read_later: int


def pool_of(call: CostedCall) -> Pool:
    """Return what calls must share for their prefixes to be comparable and one provider's cache to hold both."""
    prefix = call.inference.prefix
    assert prefix is not None
    provider = call.inference.provider or "unknown"
    return provider, call.model, prefix.key_id, prefix.vocabulary, str(prefix.block_tokens)


def reaches(
    calls: Iterable[CostedCall], ttl_ns: int | None, pool: Callable[[CostedCall], Pool] = pool_of
) -> dict[tuple[bytes, bytes], Reach]:
    """Return the reach of every call that has a chain.

    Args:
        calls: in order of start.
        ttl_ns: how long a cache keeps what was used last; None for ever.
        pool: which calls could share a cache.
    """
    pools: dict[Pool, list[CostedCall]] = defaultdict(list)
    for call in calls:
        if call.inference.prefix is not None and call.inference.prefix.blocks:
            pools[pool(call)].append(call)
    found: dict[tuple[bytes, bytes], Reach] = {}
    for members in pools.values():
        found.update(_reach_of_pool(members, ttl_ns))
    return found


def _reach_of_pool(calls: Sequence[CostedCall], ttl_ns: int | None) -> dict[tuple[bytes, bytes], Reach]:
    hashes, owner = _sorted_blocks([call.inference.prefix.hashes for call in calls if call.inference.prefix])
    first = np.ones(len(hashes), bool)
    first[1:] = hashes[1:] != hashes[:-1]
    last = np.roll(first, -1)
    last[-1] = True
    first_owner = owner[np.maximum.accumulate(np.where(first, np.arange(len(hashes)), 0))]
    starts = np.array([call.start_ns for call in calls], np.int64)
    ends = np.array([call.end_ns for call in calls], np.int64)
    seen = ~first
    began = starts[owner]
    gap = began - starts[np.roll(owner, 1)]
    alive = seen & (ends[first_owner] <= began) & (gap <= (NEVER_NS if ttl_ns is None else ttl_ns))
    masks = (seen, alive, seen | ~last, np.roll(alive, -1) & ~last)
    counted = [np.bincount(owner, weights=mask, minlength=len(calls)).astype(int).tolist() for mask in masks]
    lengths = [call.inference.prefix.blocks for call in calls if call.inference.prefix]
    return {call.key: Reach(*counts) for call, counts in zip(calls, zip(lengths, *counted, strict=True), strict=True)}


def _sorted_blocks(chains: Sequence[bytes]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return all blocks' hashes in order, and within equal hashes in order of the calls, with the call of each.

    The low bits of each hash make room for its call's number, so that one plain sort, the fastest there is, orders
    both. The hashes are spread first: a file's local ids are small numbers, different in their low bits alone.
    48 bits of hash are left beside 65,536 calls: among four million blocks 0.03 are taken for another by chance.
    """
    lengths = np.array([len(chain) // 8 for chain in chains])
    bits = np.uint64(max(1, (len(chains) - 1).bit_length()))
    numbers = np.repeat(np.arange(len(chains), dtype=np.uint64), lengths)
    keys = np.frombuffer(b"".join(chains), "<u8") * _SPREAD >> bits << bits | numbers
    keys.sort()
    return keys >> bits, (keys & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)


def tokens_of(call: CostedCall, blocks: int) -> int:
    """Return a number of blocks in the model's own tokens, never more than the call's input.

    Chains count in one vocabulary whatever the model; where the model's count is not the chain's, its own count scales.
    """
    prefix = call.inference.prefix
    assert prefix is not None
    length, total = prefix.blocks * prefix.block_tokens, call.input_tokens
    if length <= total < length + prefix.block_tokens:
        return blocks * prefix.block_tokens
    return min(total, int(total * blocks / (prefix.blocks + 0.5)))


def reuse_share(calls: Sequence[CostedCall]) -> float | None:
    """Return the share of input tokens that an earlier call had sent as a prefix; None where no call has a chain."""
    reach = reaches(calls, None)
    known = [call for call in calls if call.key in reach]
    total = sum(call.input_tokens * call.weight for call in known)
    again = sum(tokens_of(call, reach[call.key].seen) * call.weight for call in known)
    return again / total if total else None


def shared_blocks(one: CostedCall, other: CostedCall) -> int | None:
    """Return the length of the prefix that two calls share, in blocks; None where their chains cannot be compared."""
    first, second = one.inference.prefix, other.inference.prefix
    if first is None or second is None:
        return None
    if (first.key_id, first.vocabulary, first.block_tokens) != (second.key_id, second.vocabulary, second.block_tokens):
        return None
    low, high = 0, min(first.blocks, second.blocks)
    while low < high:
        middle = (low + high + 1) // 2
        if first.hashes[8 * middle - 8 : 8 * middle] == second.hashes[8 * middle - 8 : 8 * middle]:
            low = middle
        else:
            high = middle - 1
    return low
