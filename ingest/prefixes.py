"""Prefix chains of spans that carry only what is new in them since an earlier span.

A span names its base, how many of the base's blocks it shares and its own hashes after those. Bases come in the same
batch, lie in the store, or are still on their way: then the span keeps its hashes until they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from inferometer.schema import attributes as ours
from inferometer.schema.ids import SPAN_ID_BYTES, TRACE_ID_BYTES
from inferometer.schema.records import Inference, PrefixChain, RecordBatch, Span

Key = tuple[bytes, bytes]
Loader = Callable[[Iterable[Key]], dict[Key, PrefixChain]]

HASH_BYTES = 8
_BASE_HEX = 2 * (TRACE_ID_BYTES + SPAN_ID_BYTES)


def keep_hashes(span: Span, fields: dict[str, Any]) -> None:
    """Put a span's new hashes among its attributes in full, for retention would have cut them."""
    hashes = fields.get("prefix_hashes")
    if isinstance(hashes, str) and len(hashes) % (2 * HASH_BYTES) == 0:
        span.attributes[ours.PREFIX_HASHES] = hashes
    else:
        span.attributes.pop(ours.PREFIX_HASHES, None)


def complete(batch: RecordBatch, load: Loader | None = None) -> None:
    """Set the prefix chains that can be told now and forget the hashes that went into them.

    Args:
        batch: spans with hashes among their attributes, and their inferences.
        load: finds the chains of calls that the store holds.
    """
    waiting = {(span.trace_id, span.span_id): span for span in batch.spans if ours.PREFIX_HASHES in span.attributes}
    if not waiting:
        return
    calls = {(call.trace_id, call.span_id): call for call in batch.inferences}
    chains = {key: call.prefix for key, call in calls.items() if call.prefix is not None}
    if load is not None:
        wanted = {base for span in waiting.values() if (base := _base(span)) is not None and base not in chains}
        chains |= load(wanted)
    while _complete_once(waiting, calls, chains):
        pass


def _complete_once(waiting: dict[Key, Span], calls: dict[Key, Inference], chains: dict[Key, PrefixChain]) -> bool:
    found = False
    for key, span in list(waiting.items()):
        call, base = calls.get(key), _base(span)
        if base is not None and base not in chains:
            continue
        del waiting[key]
        chain = _chain(span, chains[base] if base is not None else None)
        del span.attributes[ours.PREFIX_HASHES]
        if chain is not None and call is not None:
            call.prefix = chains[key] = chain
            found = True
    return found


def _base(span: Span) -> Key | None:
    text = span.attributes.get(ours.PREFIX_BASE)
    if not isinstance(text, str):
        return None
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        return None
    if len(text) == _BASE_HEX:
        return (raw[:TRACE_ID_BYTES], raw[TRACE_ID_BYTES:])
    return (span.trace_id, raw) if len(raw) == SPAN_ID_BYTES else None


def _chain(span: Span, base: PrefixChain | None) -> PrefixChain | None:
    get = span.attributes.get
    block_tokens, vocabulary, key_id = get(ours.PREFIX_BLOCK_TOKENS), get(ours.PREFIX_VOCABULARY), get(ours.KEY_ID)
    shared = get(ours.PREFIX_SHARED) or 0
    if not isinstance(block_tokens, int) or not isinstance(vocabulary, str) or not isinstance(key_id, str):
        return None
    try:
        new = bytes.fromhex(span.attributes[ours.PREFIX_HASHES])
    except ValueError:
        return None
    before = b""
    if shared:
        if base is None or (base.key_id, base.vocabulary, base.block_tokens) != (key_id, vocabulary, block_tokens):
            return None
        before = base.hashes[: shared * HASH_BYTES]
        if len(before) != shared * HASH_BYTES:
            return None
    return PrefixChain(before + new, block_tokens, vocabulary, key_id)
