"""Codex's traces: a turn with the model and the sum of its usage, requests with their own usage and no model."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.commit import commit
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.rollups import REASON
from inferometer.store import open_store
from inferometer.testing.raw_spans import raw

SCOPE = "codex_cli_rs"


def turn(given: int, out: int, model: str | None = "gpt-5.5") -> RawSpan:
    more: dict[str, Any] = {"model": model} if model else {}
    found = raw(1, "session_task.turn", None, start=0, end=30, scope=SCOPE, otel_kind="internal", **more)
    usage = "codex.turn.token_usage."
    found.attributes |= {"conversation.id": "c", f"{usage}input_tokens": given, f"{usage}output_tokens": out}
    return found


def request(number: int, begin: float, given: int, out: int) -> list[RawSpan]:
    """What Codex writes of one request: the stream around, the event that ends it with the usage inside."""
    around = raw(10 * number, "receiving_stream", 1, start=begin, end=begin + 5, scope=SCOPE, otel_kind="internal")
    ended = raw(10 * number + 1, "handle_responses", 10 * number, start=begin + 4.9, end=begin + 5, scope=SCOPE)
    ended.attributes |= {
        "gen_ai.usage.input_tokens": given,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.cache_write.input_tokens": 10,
        "gen_ai.usage.output_tokens": out,
        "codex.usage.reasoning_output_tokens": 3,
        "codex.usage.total_tokens": given + out,
    }
    return [around, ended]


def told(path: Path, pieces: list[list[RawSpan]]) -> list[tuple[str | None, dict[str, int], bool]]:
    with open_store(str(path)) as store:
        for piece in pieces:
            with store.transaction() as tx:
                commit(tx, normalise(piece))
        assert len({row.placement.run_id for row in store.inferences()}) == 1
        rows = sorted(store.inferences(), key=lambda row: row.placement.start_ns or 0)
        return [(row.inference.model, row.inference.meters.as_dict(), REASON in row.inference.reasons) for row in rows]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_requests_learn_their_model_from_their_turn(tmp_path: Path, order: tuple[int, ...]) -> None:
    pieces = [[turn(300, 30)], request(2, 1, 100, 10), request(3, 10, 200, 20)]
    first = {"input_fresh": 50, "cache_read": 40, "cache_write_5m": 10, "output": 10, "reasoning": 3}
    second = first | {"input_fresh": 150, "output": 20}
    expected = [("gpt-5.5", first, True), ("gpt-5.5", second, True)]
    assert told(tmp_path / "one.db", [[span for piece in pieces for span in piece]]) == expected
    assert told(tmp_path / "many.db", [pieces[place] for place in order]) == expected


def test_turn_of_one_request_is_that_request(tmp_path: Path) -> None:
    [(model, meters, _)] = told(tmp_path / "store.db", [[turn(100, 10), *request(2, 1, 100, 10)]])
    assert (model, meters["input_fresh"], meters["cache_read"], meters["output"]) == ("gpt-5.5", 50, 40, 10)


def test_model_that_nothing_names_stays_unknown(tmp_path: Path) -> None:
    pieces = [[turn(300, 30, None), *request(2, 1, 100, 10), *request(3, 10, 200, 20)]]
    assert [model for model, _, _ in told(tmp_path / "store.db", pieces)] == [None, None]
