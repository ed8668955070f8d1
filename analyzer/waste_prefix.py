"""What of each call's input an earlier call had sent before, from prefix block hashes.

Hashes are chained: a block's hash covers all before it, so a block that was seen before means that everything up to it
was, and the number of seen blocks is the length of the shared prefix. One sort over all blocks answers for every call.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inferometer.analyzer.costed_call import CostedCall
from inferometer.schema.records import PrefixChain

Pool = tuple[str | int, ...]
ASSUMED_BLOCK_TOKENS = 1024
"""Of chains that are assumed: no provider caches shorter prefixes, and longer blocks take less memory."""
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


class Reach(NamedTuple):
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
    prefix = call.prefix
    assert prefix is not None
    provider = call.provider or "unknown"
    return provider, call.model, prefix.key_id, prefix.vocabulary, prefix.block_tokens


Counts = NDArray[np.int64]


@dataclass(slots=True, frozen=True)
class ReachColumns:
    """The `Reach` of calls, a column for each of its counts; the tokens of one block of each; the pools they are of."""

    blocks: Counts
    seen: Counts
    alive: Counts
    recurring: Counts
    read_later: Counts
    block_tokens: Counts
    pools: frozenset[Pool]

    def tokens_of(self, blocks: Counts, input_tokens: Counts) -> Counts:
        """Return `tokens_of` of every call; its input may have changed since, its chain may not."""
        length, total = self.blocks * self.block_tokens, input_tokens
        scaled = np.minimum(total, (total * blocks / (self.blocks + 0.5)).astype(np.int64))
        is_exact = (length <= total) & (total < length + self.block_tokens)
        return np.where(is_exact, blocks * self.block_tokens, scaled)


def reaches(
    calls: Iterable[CostedCall], ttl_ns: int | None, pool: Callable[[CostedCall], Pool] = pool_of
) -> dict[tuple[bytes, bytes], Reach]:
    """Return the reach of every call that has a chain; see `reach_columns`."""
    chained = with_chains(calls)
    found = reach_columns(chained, ttl_ns, pool)
    counts = (found.blocks, found.seen, found.alive, found.recurring, found.read_later)
    columns = zip(*(column.tolist() for column in counts), strict=True)
    return {call.key: Reach._make(values) for call, values in zip(chained, columns, strict=True)}


def assumed_chains(conversations: Iterable[Sequence[CostedCall]]) -> dict[tuple[bytes, bytes], PrefixChain]:
    """Return chains for calls that carry none, as if each sent again all that the one before in its conversation had.

    A context is taken to grow while inputs do not get shorter; a shorter one begins anew. Conversations share nothing.

    Args:
        conversations: calls without a chain, of one conversation each, in order.
    """
    found: dict[tuple[bytes, bytes], PrefixChain] = {}
    first = 0
    for calls in conversations:
        for context in _growing(calls):
            blocks = [call.input_tokens // ASSUMED_BLOCK_TOKENS for call in context]
            if len(context) > 1 and blocks[0]:
                hashes = np.arange(first, first + blocks[-1], dtype="<u8").tobytes()
                first += blocks[-1]
                for call, length in zip(context, blocks, strict=True):
                    found[call.key] = PrefixChain(hashes[: 8 * length], ASSUMED_BLOCK_TOKENS, "assumed", "assumed")
    return found


def _growing(calls: Sequence[CostedCall]) -> list[list[CostedCall]]:
    """Part a conversation where its input gets shorter."""
    contexts: list[list[CostedCall]] = []
    for call in calls:
        if contexts and call.input_tokens >= contexts[-1][-1].input_tokens:
            contexts[-1].append(call)
        else:
            contexts.append([call])
    return contexts


def with_chains(calls: Iterable[CostedCall]) -> list[CostedCall]:
    """Return the calls that have a chain of at least one block."""
    return [call for call in calls if (prefix := call.prefix) is not None and prefix.hashes]


def reach_columns(
    calls: Sequence[CostedCall], ttl_ns: int | None, pool: Callable[[CostedCall], Pool] = pool_of
) -> ReachColumns:
    """Return how much of each call's input could have been read from a cache.

    Args:
        calls: calls with a chain, in order of start.
        ttl_ns: how long a cache keeps what was used last; None for ever.
        pool: which calls could share a cache.
    """
    pools: dict[Pool, list[int]] = defaultdict(list)
    for index, call in enumerate(calls):
        pools[pool(call)].append(index)
    counts = np.zeros((5, len(calls)), np.int64)
    for indices in pools.values():
        members = calls if len(indices) == len(calls) else [calls[index] for index in indices]
        counts[:, indices] = _reach_of_pool(members, ttl_ns)
    prefixes = [call.prefix for call in calls]
    block_tokens = np.array([prefix.block_tokens if prefix else 0 for prefix in prefixes], np.int64)
    return ReachColumns(counts[0], counts[1], counts[2], counts[3], counts[4], block_tokens, frozenset(pools))


def _reach_of_pool(calls: Sequence[CostedCall], ttl_ns: int | None) -> Counts:
    """Return int64, shape (5, n_calls), in the order of `Reach`."""
    chains = [call.prefix.hashes for call in calls if call.prefix]
    owner, firsts = _sorted_blocks(chains)
    senders = np.diff(firsts, append=len(owner))
    lengths = np.array([len(chain) // 8 for chain in chains])
    starts = np.array([call.start_ns for call in calls], np.int64)
    ends = np.array([call.end_ns for call in calls], np.int64)
    began = starts[owner]
    alive = np.repeat(ends[owner[firsts]], senders) <= began
    alive[firsts] = False
    if ttl_ns is not None:
        alive[1:] &= np.diff(began) <= ttl_ns
    again = np.flatnonzero(alive)

    def per_call(blocks: NDArray[np.int64]) -> Counts:
        return np.bincount(owner[blocks], minlength=len(calls))

    return np.array(
        [
            lengths,
            lengths - per_call(firsts),
            per_call(again),
            lengths - per_call(firsts[senders == 1]),
            per_call(again - 1),
        ]
    )


def _sorted_blocks(chains: Sequence[bytes]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return the call of every block, sorted by the block's hash and then by call, and where each hash begins.

    The low bits of each hash make room for its call's number, so that one plain sort, the fastest there is, orders
    both. The hashes are spread first: a file's local ids are small numbers, different in their low bits alone.
    48 bits of hash are left beside 65,536 calls: among four million blocks 0.03 are taken for another by chance.
    """
    lengths = np.array([len(chain) // 8 for chain in chains])
    bits = np.uint64(max(1, (len(chains) - 1).bit_length()))
    mask = (np.uint64(1) << bits) - np.uint64(1)
    keys = np.frombuffer(b"".join(chains), "<u8") * _SPREAD & ~mask
    keys |= np.repeat(np.arange(len(chains), dtype=np.uint64), lengths)
    keys.sort()
    is_first = np.ones(len(keys), bool)
    is_first[1:] = (keys[1:] ^ keys[:-1]) > mask
    keys &= mask
    return keys.astype(np.int32), np.flatnonzero(is_first)


def tokens_of(call: CostedCall, blocks: int) -> int:
    """Return a number of blocks in the model's own tokens, never more than the call's input.

    Chains count in one vocabulary whatever the model; where the model's count is not the chain's, its own count scales.
    """
    prefix = call.prefix
    assert prefix is not None
    length, total = prefix.blocks * prefix.block_tokens, call.input_tokens
    if length <= total < length + prefix.block_tokens:
        return blocks * prefix.block_tokens
    return min(total, int(total * blocks / (prefix.blocks + 0.5)))


def reuse_share(calls: Sequence[CostedCall]) -> float | None:
    """Return the share of input tokens that an earlier call had sent as a prefix; None where no call has a chain.

    Args:
        calls: in order of start.
    """
    chained = with_chains(calls)
    return seen_share([(chained, reach_columns(chained, None))])


def seen_share(parts: Iterable[tuple[Sequence[CostedCall], ReachColumns]]) -> float | None:
    """Return the share of input tokens that an earlier call had sent as a prefix; see `reuse_share`."""
    total, again = 0.0, 0.0
    for calls, reach in parts:
        inputs = np.array([call.input_tokens for call in calls], np.int64)
        weights = np.array([call.weight for call in calls])
        total += float(inputs @ weights)
        again += float(reach.tokens_of(reach.seen, inputs) @ weights)
    return again / total if total else None


def shared_blocks(one: CostedCall, other: CostedCall) -> int | None:
    """Return the length of the prefix that two calls share, in blocks; None where their chains cannot be compared."""
    first, second = one.prefix, other.prefix
    if first is None or second is None:
        return None
    if (first.key_id, first.vocabulary, first.block_tokens) != (second.key_id, second.vocabulary, second.block_tokens):
        return None
    low, high = 0, min(first.blocks, second.blocks)
    if first.hashes[: 8 * high] == second.hashes[: 8 * high]:
        return high
    while low < high:
        middle = (low + high + 1) // 2
        if first.hashes[8 * middle - 8 : 8 * middle] == second.hashes[8 * middle - 8 : 8 * middle]:
            low = middle
        else:
            high = middle - 1
    return low
