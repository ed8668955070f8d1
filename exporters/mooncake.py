"""Mooncake traces: one JSON line a call, with the ids of its 512-token prefix blocks.

``mooncake`` has ``timestamp`` (ms since the first call; of sessions without a date, since the begin of each, which is
counted), ``input_length``, ``output_length`` and ``hash_ids`` (equal leading ids are a shared prefix; a trailing
partial block has an id too). ``agentic-mooncake`` adds ``session_id``, ``request_id``, ``wait_for`` (requests that have
to end before), ``delay`` and ``tool_wait_ms`` (ms after they have): version 1 of that format, as the header of version
2 is not public.

Source: kvcache-ai/Mooncake FAST25-release; ai-dynamo/dynamo, the loaders of its replay.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from inferometer.schema.moments import is_date
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


def write_mooncake(store: Store, selection: Selection, target: TextIO, *, agentic: bool = False) -> dict[str, int]:
    """Write the billable calls whose input and output are known, in order of their start.

    Returns:
        ``calls`` written, and ``calls_without_date`` of them, whose sessions all begin at the trace's begin.
    """
    counts = {"calls": 0, "calls_without_date": 0}
    for row, line in mooncake_lines(store.inferences(selection, with_prefix=True), agentic=agentic):
        target.write(json.dumps(line, separators=(",", ":")) + "\n")
        counts["calls"] += 1
        counts["calls_without_date"] += not is_date(row.placement.start_ns)
    return counts


def mooncake_lines(
    rows: Iterable[InferenceRow], *, agentic: bool = False
) -> Iterator[tuple[InferenceRow, dict[str, Any]]]:
    """Yield calls given in order of their start with their lines; times count from the first that has a date."""
    blocks = BlockIds(BLOCK_TOKENS)
    first: int | None = None
    for row in rows:
        call, placement = row.inference, row.placement
        input_tokens = call.meters.input_total
        if input_tokens is None or call.meters.output is None or placement.start_ns is None:
            continue
        if first is None and is_date(placement.start_ns):
            first = placement.start_ns
        line: dict[str, Any] = {
            "timestamp": (placement.start_ns - (first or 0)) // _MILLISECOND,
            "input_length": input_tokens,
            "output_length": call.meters.output,
            "hash_ids": blocks.ids_of(call, -(-input_tokens // BLOCK_TOKENS)),
        }
        if agentic:
            line |= _agentic(row)
        yield row, line


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
