"""Bare answers of providers: the streams of several in a row are several calls, a splice within one is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.importing import ImportReport
from inferometer.store import Store

Load = Callable[..., ImportReport]


def message(name: str, given: int, made: int, *, ends: bool = True) -> list[dict[str, Any]]:
    """Return the events of one message as Anthropic streams them."""
    start = {"id": name, "type": "message", "role": "assistant", "model": "claude-opus-4-5"}
    return [
        {"type": "message_start", "message": {**start, "usage": {"input_tokens": given, "output_tokens": 1}}},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": made}},
        *([{"type": "message_stop"}] if ends else []),
    ]


def response(name: str, given: int, made: int) -> list[dict[str, Any]]:
    """Return the events of one response as OpenAI streams them."""
    begun = {"id": name, "object": "response", "model": "gpt-5", "status": "in_progress", "usage": None}
    usage = {"input_tokens": given, "output_tokens": made, "total_tokens": given + made}
    return [
        {"type": "response.created", "response": begun},
        {"type": "response.completed", "response": {**begun, "status": "completed", "usage": usage}},
    ]


def tokens(store: Store) -> list[tuple[str | None, int | None, int | None]]:
    calls = [row.inference for row in store.inferences()]
    return sorted((call.response_id, call.meters.input_total, call.meters.output) for call in calls)


@pytest.mark.parametrize("make", [message, response])
def test_streams_that_follow_one_another_are_a_call_each(
    store: Store, load: Load, tmp_path: Path, make: Callable[[str, int, int], list[dict[str, Any]]]
) -> None:
    path = tmp_path / "loop.chunks.txt"
    events = [*make("a", 100, 10), *make("b", 200, 20), *make("c", 300, 30)]
    path.write_text("\n".join(map(json.dumps, events)))
    assert load(path).inferences == 3
    assert tokens(store) == [("a", 100, 10), ("b", 200, 20), ("c", 300, 30)]
    assert load(path, again=True).inferences == 0


def test_a_beginning_within_a_stream_is_the_same_call(store: Store, load: Load, tmp_path: Path) -> None:
    path = tmp_path / "splice.chunks.txt"
    events = [*message("a", 100, 10, ends=False), *message("b", 100, 20)]
    path.write_text("\n".join(map(json.dumps, events)))
    assert load(path).inferences == 1
    assert [each[1:] for each in tokens(store)] == [(100, 20)]


def test_an_event_of_an_odd_kind_is_part_of_its_stream(store: Store, load: Load, tmp_path: Path) -> None:
    path = tmp_path / "odd.chunks.txt"
    events = [*message("a", 100, 10), {"type": ["message_start"]}, {"type": {"a": 1}}]
    path.write_text("\n".join(map(json.dumps, events)))
    assert load(path).inferences == 1
    assert tokens(store) == [("a", 100, 10)]
