"""What an agent sends again is counted once: counts and prefix chains of requests that repeat the ones before.

No text is kept: messages are known by 128 bits of a hash under a secret of the process.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from inferometer.schema.records import PrefixChain
from inferometer.tokens import _native
from inferometer.tokens.key import HashKey, load_key
from inferometer.tokens.tokenizer import DEFAULT_BLOCK_TOKENS, Encoding, Text

CAPACITY_BYTES = 16 << 20
_ENTRY_BYTES = 300


class _Step(NamedTuple):
    """What one message adds to the chain of those before it, and where the chain stands after it."""

    tokens: int
    hashes: bytes
    parent: int
    open_ids: bytes


class History:
    """The requests of one process, remembered within a bound; the least recently used is forgotten first.

    Args:
        encoding: how messages are counted.
        block: tokens a block of the prefix chain.
        key: the secret of the chain; the user's own where None.
        capacity_bytes: about how much memory the chains may take.
    """

    def __init__(
        self,
        encoding: Encoding,
        block: int = DEFAULT_BLOCK_TOKENS,
        key: HashKey | None = None,
        capacity_bytes: int = CAPACITY_BYTES,
    ) -> None:
        self._encoding = encoding
        self._block = block
        self._key = key or load_key()
        self._secret = encoding.chain_secret(block, self._key)
        self._capacity_bytes = capacity_bytes
        self._steps: OrderedDict[bytes, _Step] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def count(self, messages: Sequence[Text]) -> int:
        """Return the tokens of a request's messages, each encoded on its own."""
        return sum(map(self._encoding.count_remembered, messages))

    def prefix_chain(self, messages: Sequence[Text]) -> tuple[int, PrefixChain]:
        """Count a request and hash its prefix as `Encoding.prefix_chain` does, going on from what is known of it."""
        tokens, hashes, parent, open_ids = 0, [], 0, b""
        digest = b""
        for message in messages:
            digest = _native.digest(message, digest)
            step = self._recall(digest)
            if step is None:
                added = self._encoding.extend_chain(message, self._block, self._secret, parent, open_ids)
                step = self._remember(digest, _Step(*added))
            tokens += step.tokens
            hashes.append(step.hashes)
            parent, open_ids = step.parent, step.open_ids
        return tokens, PrefixChain(b"".join(hashes), self._block, self._encoding.name, self._key.key_id)

    def _recall(self, digest: bytes) -> _Step | None:
        with self._lock:
            step = self._steps.get(digest)
            if step is not None:
                self._steps.move_to_end(digest)
            return step

    def _remember(self, digest: bytes, step: _Step) -> _Step:
        with self._lock:
            if digest not in self._steps:
                self._steps[digest] = step
                self._bytes += _weight(step)
            while self._bytes > self._capacity_bytes and self._steps:
                self._bytes -= _weight(self._steps.popitem(last=False)[1])
            return step


def _weight(step: _Step) -> int:
    return _ENTRY_BYTES + len(step.hashes) + len(step.open_ids)
