"""The current span follows work into threads, pools, processes and over the wire."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

import inferometer
from inferometer.schema.selection import Selection
from inferometer.store import open_store
from inferometer.testing import Recorded, record
from inferometer.tracer.propagation import extract, inject

FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def _executors() -> Iterator[None]:
    inferometer.instrument("executors")
    yield
    inferometer.uninstrument()


@inferometer.tool
def look(number: int = 0) -> int:
    return number


def _parents(recorded: Recorded) -> set[str | None]:
    return {parent for name, parent in recorded.tree() if name == "execute_tool look"}


def test_thread_pool_nests_under_the_span_that_submitted(recorded: Recorded) -> None:
    with inferometer.agent("clerk"), ThreadPoolExecutor(2) as pool:
        assert list(pool.map(look, range(4))) == [0, 1, 2, 3]
    assert _parents(recorded) == {"invoke_agent clerk"}


def test_threads_nest_under_the_span_that_started_them(recorded: Recorded) -> None:
    with inferometer.agent("clerk"):
        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert _parents(recorded) == {"invoke_agent clerk"}


def test_asyncio_threads_and_executors_nest(recorded: Recorded) -> None:
    async def main() -> None:
        async with inferometer.agent("clerk"):
            await asyncio.to_thread(look)
            await asyncio.get_running_loop().run_in_executor(None, look)
            await asyncio.gather(asyncio.create_task(asyncio.to_thread(look)))

    asyncio.run(main())
    assert _parents(recorded) == {"invoke_agent clerk"}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_process_pool_and_forked_children_export_under_the_same_trace(tmp_path: Path) -> None:
    store = str(tmp_path / "store.sqlite")
    inferometer.configure(store=store)
    with inferometer.agent("clerk"):
        look()
        inferometer.flush()
        with ProcessPoolExecutor(1, mp_context=FORK) as pool:
            assert pool.submit(look, 7).result() == 7
        child = FORK.Process(target=look)
        child.start()
        child.join()
        with FORK.Pool(1) as workers:
            assert workers.apply(look, (3,)) == 3
            workers.close()
            workers.join()
    inferometer.shutdown()
    with open_store(store) as opened:
        (run,) = opened.runs(Selection())
        spans = opened.spans_of_run(run.run_id)
    agent = next(span for span in spans if span.name == "invoke_agent clerk")
    tools = [span for span in spans if span.name == "execute_tool look"]
    assert len(tools) == 4
    assert {span.parent_id for span in tools} == {agent.span_id}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_draws_other_ids_and_does_not_export_its_parents_spans(recorded: Recorded) -> None:
    look()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        from inferometer.exporters.setup import statistics

        with inferometer.tool("child") as span:
            pass
        os.write(writing, f"{span.get_span_context().span_id:016x} {statistics()['waiting']}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    span_id, waiting = os.read(reading, 100).decode().split()
    os.close(reading)
    os.close(writing)
    with inferometer.tool("parent") as span:
        pass
    assert span_id != f"{span.get_span_context().span_id:016x}"
    assert waiting == "1"
    assert len(recorded.spans) == 2


def test_context_goes_over_the_wire_with_the_tags_of_the_allow_list() -> None:
    with record(tags=["team"]) as recorded:
        headers: dict[str, str] = {}
        with inferometer.tag(team="search & more", customer="acme"), inferometer.agent("clerk"):
            inject(headers)
        assert "acme" not in str(headers)
        token = otel_context.attach(extract({key.title(): value for key, value in headers.items()}))
        look()
        otel_context.detach(token)
        agent, tool = recorded.named("invoke_agent clerk"), recorded.named("execute_tool look")
    assert tool.parent.span_id == agent.context.span_id
    assert tool.parent.is_remote
    assert tool.attributes["inferometer.tag.team"] == "search & more"
    assert agent.attributes["inferometer.tag.customer"] == "acme"
    assert "inferometer.tag.customer" not in tool.attributes


def test_foreign_baggage_is_not_taken_over() -> None:
    with record(tags=["team"]) as recorded:
        token = otel_context.attach(extract({"baggage": "inferometer.secret=1,other=2,inferometer.team=ours"}))
        look()
        otel_context.detach(token)
        tags = {key: value for key, value in recorded.spans[0].attributes.items() if ".tag." in key}
    assert tags == {"inferometer.tag.team": "ours"}


def test_sessions_users_and_tags_reach_everything_under_them(recorded: Recorded) -> None:
    @inferometer.session("chat-1", user="anna", purpose="evaluate")
    @inferometer.tag(team="search")
    def work() -> None:
        with inferometer.agent("clerk"):
            look()

    work()
    look()
    inside, outside = recorded.spans[:2], recorded.spans[2]
    for span in inside:
        assert span.attributes["gen_ai.conversation.id"] == "chat-1"
        assert span.attributes["inferometer.purpose"] == "evaluate"
        assert span.attributes["inferometer.tag.team"] == "search"
        assert "user.id" not in span.attributes
        assert span.attributes["user.hash"] not in ("anna", "")
    assert inside[0].attributes["user.hash"] == inside[1].attributes["user.hash"]
    assert "gen_ai.conversation.id" not in outside.attributes


def test_annotations_and_outcomes_land_on_the_current_span(recorded: Recorded) -> None:
    with inferometer.agent("clerk"):
        inferometer.annotate(shop__order=7, plain="yes")
        inferometer.outcome("resolved", True)
        inferometer.outcome("grade", "good")
    span = recorded.named("invoke_agent clerk")
    assert (span.attributes["shop.order"], span.attributes["plain"]) == (7, "yes")
    assert [dict(event.attributes) for event in span.events] == [
        {"gen_ai.evaluation.name": "resolved", "gen_ai.evaluation.score.value": 1.0},
        {"gen_ai.evaluation.name": "grade", "gen_ai.evaluation.score.label": "good"},
    ]


def test_thread_of_another_context_is_left_alone(recorded: Recorded) -> None:
    seen = []
    thread = threading.Thread(target=lambda: seen.append(trace.get_current_span()))
    thread.start()
    thread.join()
    assert seen == [trace.INVALID_SPAN]


def test_statements_hold_for_the_rest_of_a_traced_function_and_its_span(recorded: Recorded) -> None:
    @inferometer.agent
    def clerk() -> None:
        look()
        inferometer.tag(team="search")
        inferometer.session("chat-1")
        look()
        with inferometer.tag(customer="acme"):
            look()

    clerk()
    look()
    before, after, inside, agent, outside = (dict(span.attributes or {}) for span in recorded.spans)
    team, customer, session = "inferometer.tag.team", "inferometer.tag.customer", "gen_ai.conversation.id"
    assert team not in before
    assert (after[team], after[session]) == ("search", "chat-1")
    assert (inside[team], inside[customer]) == ("search", "acme")
    assert (agent[team], agent[session], customer in agent) == ("search", "chat-1", False)
    assert team not in outside
