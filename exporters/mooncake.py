"""Mooncake traces: one JSON line a call, with the ids of its 512-token prefix blocks.

``mooncake`` has ``timestamp`` (ms since the first call), ``input_length``, ``output_length`` and ``hash_ids`` (equal
leading ids are a shared prefix; a trailing partial block has an id too). ``agentic-mooncake`` adds ``session_id``,
``request_id``, ``wait_for`` (requests that have to end before), ``delay`` and ``tool_wait_ms`` (ms after they have):
version 1 of that format, as the header of version 2 is not public.

Source: kvcache-ai/Mooncake FAST25-release; ai-dynamo/dynamo, the loaders of its replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from inferometer.schema.records import DependencyKind, Inference
from inferometer.schema.rows import InferenceRow
from inferometer.schema.selection import Selection
from inferometer.store import Store

BLOCK_TOKENS = 512
_HASH_BYTES = 8
_MILLISECOND = 1_000_000


class BlockIds:
    """Numbers prefix blocks in the order in which they are first seen."""

    def __init__(self, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._ids: dict[tuple[object, ...], int] = {}

    def ids_of(self, call: Inference, needed: int) -> list[int]:
        """Return the ids of a call's first blocks, as many as are needed.

        A chained hash stands for all before it, so the hash at the end of each larger block names that block. Blocks
        that the chain does not reach (it counts in another vocabulary, or there is none) get ids of their own.
        """
        chain = call.prefix
        keys: list[tuple[object, ...]] = []
        if chain is not None:
            scope = (chain.key_id, chain.vocabulary, chain.block_tokens)
            step = max(1, round(self.block_tokens / chain.block_tokens))
            for last in [*range(step - 1, chain.blocks, step), chain.blocks - 1][:needed]:
                key = (*scope, chain.hashes[last * _HASH_BYTES : (last + 1) * _HASH_BYTES])
                if not keys or keys[-1] != key:
                    keys.append(key)
        keys += [(call.trace_id, call.span_id, place) for place in range(len(keys), needed)]
        return [self._ids.setdefault(key, len(self._ids)) for key in keys]


def write_mooncake(store: Store, selection: Selection, target: TextIO, *, agentic: bool = False) -> int:
    """Write the billable calls whose input and output are known, in order of their start; return their number."""
    count = 0
    for line in mooncake_lines(store.inferences(selection, with_prefix=True), agentic=agentic):
        target.write(json.dumps(line, separators=(",", ":")) + "\n")
        count += 1
    return count


def mooncake_lines(rows: Iterable[InferenceRow], *, agentic: bool = False) -> Iterator[dict[str, Any]]:
    """Yield the lines of calls given in order of their start; times count from the first of them."""
    blocks = BlockIds(BLOCK_TOKENS)
    first: int | None = None
    for row in rows:
        call, placement = row.inference, row.placement
        input_tokens = call.meters.input_total
        if input_tokens is None or call.meters.output is None or placement.start_ns is None:
            continue
        first = placement.start_ns if first is None else first
        line: dict[str, Any] = {
            "timestamp": (placement.start_ns - first) // _MILLISECOND,
            "input_length": input_tokens,
            "output_length": call.meters.output,
            "hash_ids": blocks.ids_of(call, -(-input_tokens // BLOCK_TOKENS)),
        }
        if agentic:
            line |= _agentic(row)
        yield line


def _agentic(row: InferenceRow) -> dict[str, Any]:
    call = row.inference
    gaps = [edge.gap_ns for edge in call.depends_on if edge.gap_ns is not None]
    gap_ms = min(gaps) / _MILLISECOND if gaps else None
    waits_for_tool = any(edge.kind is DependencyKind.TOOL for edge in call.depends_on)
    fields: dict[str, Any] = {
        "session_id": row.placement.session_id or row.placement.run_id or call.trace_id.hex(),
        "request_id": call.trace_id.hex() + call.span_id.hex(),
        "wait_for": [call.trace_id.hex() + edge.span_id.hex() for edge in call.depends_on],
    }
    if gap_ms is not None:
        fields["tool_wait_ms" if waits_for_tool else "delay"] = gap_ms
    return fields
