"""Codex's traces: a turn with the model and the sum of its usage, requests with their own usage and no model."""

from __future__ import annotations

import random
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.commit import commit
from inferometer.ingest.logs import logs_of_json
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.rollups import BEGUN, REASON
from inferometer.schema.records import RecordBatch
from inferometer.store import open_store
from inferometer.testing.raw_spans import SECOND, START, TRACE, raw, span_id

SCOPE = "codex_cli_rs"


def turn(given: int, out: int, model: str | None = "gpt-5.5") -> RawSpan:
    more: dict[str, Any] = {"model": model} if model else {}
    found = raw(1, "session_task.turn", None, start=0, end=30, scope=SCOPE, otel_kind="internal", **more)
    usage = "codex.turn.token_usage."
    found.attributes |= {"conversation.id": "c", f"{usage}input_tokens": given, f"{usage}output_tokens": out}
    return found


def request(number: int, begin: float, given: int, out: int) -> list[RawSpan]:
    """What Codex 0.160 writes of one request and of a tool that it asks for: nothing has the length of the request."""

    def part(place: int, name: str, above: int | None, start: float, end: float, **more: Any) -> RawSpan:
        parent = 1 if above is None else 100 * number + above
        found = raw(100 * number + place, name, parent, start=start, end=end, scope=SCOPE, otel_kind="internal")
        found.attributes |= {"thread.id": 7, "thread.name": "worker", **more}
        return found

    asked = {"tool_name": "exec", "codex.request.reasoning_effort": "low"}
    usage = {
        "gen_ai.usage.input_tokens": given,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.cache_write.input_tokens": 10,
        "gen_ai.usage.output_tokens": out,
        "codex.usage.reasoning_output_tokens": 3,
        "codex.usage.total_tokens": given + out,
    }
    return [
        part(0, "run_sampling_request", None, begin, begin + 6, model="gpt-5.5"),
        part(1, "try_run_sampling_request", 0, begin, begin + 6, model="gpt-5.5"),
        part(2, "stream_request", 1, begin, begin + 0.1),
        part(3, "model_client.stream_responses_websocket", 2, begin, begin + 0.1, model="gpt-5.5"),
        part(4, "responses_websocket.stream_request", 3, begin + 0.1, begin + 5),
        part(5, "receiving_stream", 1, begin + 0.1, begin + 6),
        part(6, "function_call", 5, begin + 3, begin + 3.1, **asked, **{"from": "output_item_added"}),
        part(7, "function_call", 5, begin + 4, begin + 4.8, **asked, **{"from": "output_item_done"}),
        part(8, "exec", 7, begin + 4.8, begin + 6, tool_name="exec", call_id=f"call_{number}"),
        part(9, "completed", 5, begin + 4.9, begin + 5, **usage),
        part(10, "handle_tool_call", 1, begin + 5, begin + 6),
    ]


Told = list[tuple[str | None, dict[str, int], list[str]]]


def told(path: Path, pieces: list[list[RawSpan]]) -> Told:
    with open_store(str(path)) as store:
        for piece in pieces:
            with store.transaction() as tx:
                commit(tx, normalise(piece))
        assert len({row.placement.run_id for row in store.inferences()}) == 1
        rows = sorted(store.inferences(), key=lambda row: row.placement.start_ns or 0)
        took = [((row.placement.end_ns or 0) - (row.placement.start_ns or 0)) / SECOND for row in rows]
        assert took == pytest.approx([5] * len(rows))
        assert {row.placement.session_id for row in rows} == {"c"}
        tools = [row.tool_call for row in store.tool_calls()]
        assert [(tool.name, (tool.duration_ns or 0) / SECOND) for tool in tools] == [("exec", 1.2)] * len(rows)
        return [(row.inference.model, row.inference.meters.as_dict(), row.inference.reasons) for row in rows]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_requests_learn_their_model_from_their_turn(tmp_path: Path, order: tuple[int, ...]) -> None:
    """Whatever comes first, a request also begins where it was sent, and asking for a tool is not its run."""
    pieces = [[turn(300, 30)], request(2, 1, 100, 10), request(3, 10, 200, 20)]
    first = {"input_fresh": 50, "cache_read": 40, "cache_write_5m": 10, "output": 10, "reasoning": 3}
    second = first | {"input_fresh": 150, "output": 20}
    expected = [("gpt-5.5", first, [BEGUN, REASON]), ("gpt-5.5", second, [BEGUN, REASON])]
    assert told(tmp_path / "one.db", [[span for piece in pieces for span in piece]]) == expected
    assert told(tmp_path / "many.db", [pieces[place] for place in order]) == expected


def test_turn_of_one_request_is_that_request(tmp_path: Path) -> None:
    """A turn is longer than its request: the request stands for both."""
    [(model, meters, _)] = told(tmp_path / "store.db", [[turn(100, 10), *request(2, 1, 100, 10)]])
    assert (model, meters["input_fresh"], meters["cache_read"], meters["output"]) == ("gpt-5.5", 50, 40, 10)


def test_model_that_nothing_names_stays_unknown(tmp_path: Path) -> None:
    pieces = [[turn(300, 30, None), *request(2, 1, 100, 10), *request(3, 10, 200, 20)]]
    assert [model for model, _, _ in told(tmp_path / "store.db", pieces)] == [None, None]


@pytest.mark.parametrize("seed", range(8))
def test_request_that_comes_in_pieces_is_that_request(tmp_path: Path, seed: int) -> None:
    """Spans are exported as they end, an attempt long after the event that tells its usage."""
    spans = [turn(100, 10), *request(2, 1, 100, 10)]
    random.Random(seed).shuffle(spans)
    expected = told(tmp_path / "one.db", [spans])
    assert told(tmp_path / "many.db", [spans[:4], spans[4:8], spans[8:]]) == expected
    assert told(tmp_path / "twice.db", [spans, spans]) == expected
    assert expected[0][2] == [BEGUN, REASON]


def log_of(place: int, time_s: float, given: int, out: int, in_trace: bool) -> RecordBatch:
    """The event that Codex logs of one answer, with or without the context of a span."""
    told = {
        **{"event.name": "codex.sse_event", "event.kind": "response.completed"},
        **{"conversation.id": "c", "model": "gpt-5.5", "input_token_count": given, "output_token_count": out},
        **{"cached_token_count": 40, "reasoning_token_count": 3},
    }
    pairs = [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in told.items()
    ]
    record = {"timeUnixNano": str(START + round(time_s * SECOND)), "attributes": pairs}
    if in_trace:
        record |= {"traceId": TRACE.hex(), "spanId": span_id(100 * place + 4).hex()}
    scope = {"name": "codex_otel.log_only"}
    return logs_of_json({"resourceLogs": [{"scopeLogs": [{"scope": scope, "logRecords": [record]}]}]}, Counter())


@pytest.mark.parametrize("in_trace", [False, True])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_requests_that_are_logged_too_count_once(tmp_path: Path, order: tuple[int, ...], in_trace: bool) -> None:
    """Spans of requests name no session, and no model either: those are the turn's."""
    spans = [request(2, 1, 100, 10) + request(3, 10, 100, 10), [turn(200, 20)]]
    pieces = [*map(normalise, spans), log_of(2, 6.01, 100, 10, in_trace)]
    pieces[2].extend(log_of(3, 15.01, 100, 10, in_trace))
    with open_store(str(tmp_path / "store.db")) as store:
        for place in order:
            with store.transaction() as tx:
                commit(tx, pieces[place])
        assert sorted(row.inference.span_id for row in store.inferences()) == [span_id(209), span_id(309)]
        assert {row.inference.model for row in store.inferences()} == {"gpt-5.5"}
