from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.commit import commit
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.reprocess import reprocess
from inferometer.schema.ids import run_id_of
from inferometer.schema.records import SpanLink
from inferometer.store import open_store
from inferometer.testing.raw_spans import SECOND, START, agent, chat, span_id

NOW = START + 10**6 * SECOND
FIRST, SECOND_TRACE, THIRD = (bytes([number] * 16) for number in (1, 2, 3))
RUN = run_id_of(FIRST, span_id(1))


def part(trace: bytes, begin: float, after: tuple[bytes, int] | None, session: str | None = "talk") -> list[RawSpan]:
    """An agent with one call, its root linked to a span of another trace; only the call knows the session."""
    root = agent(1, trace=trace, start=begin, end=begin + 10)
    if after is not None:
        root = replace(root, links=[SpanLink(after[0], span_id(after[1]))])
    known: dict[str, Any] = {"gen_ai__conversation__id": session} if session else {}
    return [root, chat(2, 1, trace=trace, start=begin + 1, end=begin + 5, **known)]


CONVERSATION = [part(FIRST, 0, None), part(SECOND_TRACE, 100, (FIRST, 1)), part(THIRD, 200, (SECOND_TRACE, 2))]


def stored(path: Path, pieces: list[list[RawSpan]]) -> Any:
    with open_store(str(path)) as store:
        for piece in pieces:
            with store.transaction() as tx:
                commit(tx, normalise(piece), NOW)
        runs = store.runs()
        calls = {row.inference.trace_id: (row.placement.run_id, row.inference.reasons) for row in store.inferences()}
        reprocess(store, everything=True, now_ns=NOW)
        assert store.runs() == runs
    return runs, calls


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_run_goes_on_over_linked_traces_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    runs, calls = stored(tmp_path / "store.db", [CONVERSATION[number] for number in order])
    assert [run.run_id for run in runs] == [RUN]
    assert (runs[0].start_ns, runs[0].end_ns) == (START, START + 210 * SECOND)
    assert {run_id for run_id, _ in calls.values()} == {RUN}
    assert calls[THIRD][1] == [f"run goes on from trace {FIRST.hex()}: a span link, same session"]
    assert calls == stored(tmp_path / "whole.db", [[span for piece in CONVERSATION for span in piece]])[1]


def test_spans_that_come_one_by_one_and_twice_end_in_the_same_run(tmp_path: Path) -> None:
    spans = [span for piece in CONVERSATION for span in piece]
    pieces = [[span] for span in [*reversed(spans), *spans]]
    assert stored(tmp_path / "pieces.db", pieces) == stored(tmp_path / "whole.db", [spans])


@pytest.mark.parametrize("session", ["another", None])
def test_link_to_another_conversation_is_no_continuation(tmp_path: Path, session: str | None) -> None:
    runs, _ = stored(tmp_path / "store.db", [CONVERSATION[0], part(SECOND_TRACE, 100, (FIRST, 1), session)])
    assert len(runs) == 2


def test_runs_that_link_to_each_other_are_the_earlier_one(tmp_path: Path) -> None:
    circle = [part(FIRST, 0, (SECOND_TRACE, 1)), part(SECOND_TRACE, 100, (FIRST, 1))]
    assert [run.run_id for run in stored(tmp_path / "store.db", circle)[0]] == [RUN]
