"""What a cache that forgets nothing would find, of all calls and of some."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from inferometer.analyzer.workload_prefix import build_forest
from inferometer.schema.records import PrefixChain


def _chain(path: tuple[int, ...]) -> PrefixChain:
    """Return a chain whose hash at each depth names the whole path to it."""
    hashes = b"".join((hash(path[: depth + 1]) & (2**63 - 1)).to_bytes(8, "little") for depth in range(len(path)))
    return PrefixChain(hashes, 64, "o200k_base", "key")


paths = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), min_size=1, max_size=12)


@given(paths, st.data())
def test_hit_rate_of_some_calls_is_that_of_their_own_blocks(chains: list[tuple[int, ...]], data: st.DataObject) -> None:
    forest = build_forest([_chain(path) for path in chains], [64 * len(path) for path in chains], Counter())
    chosen = data.draw(st.lists(st.booleans(), min_size=len(chains), max_size=len(chains)))
    blocks = [
        path[: depth + 1] for path, kept in zip(chains, chosen, strict=True) if kept for depth in range(len(path))
    ]
    expected = 1 - len(set(blocks)) / len(blocks) if blocks else None
    assert forest.hit_rate_infinite_of(np.array(chosen)) == expected
    assert forest.hit_rate_infinite_of(np.ones(len(chains), np.bool_)) == forest.hit_rate_infinite
