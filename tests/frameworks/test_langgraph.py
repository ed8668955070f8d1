"""LangChain and LangGraph over the openai SDK: one span a call, under the node that made it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("langgraph")

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.prebuilt import create_react_agent

import inferometer
from inferometer.schema.errors import BudgetExceeded
from inferometer.testing import record
from inferometer.testing.model_stub import ModelStub, Reply

pytestmark = pytest.mark.filterwarnings("ignore")
QUESTION = {"messages": [("user", "Xyzzy-4711: what is the plan?")]}


@tool
def look(shelf: str) -> str:
    """Look at a shelf."""
    return "Xyzzy-4711"


def _agent(stub: ModelStub, **options: Any) -> Any:
    model = ChatOpenAI(model="gpt-4o", base_url=stub.openai_url, api_key="x", **options)
    return create_react_agent(model, [look], name="clerk")


def _names(spans: list[Any]) -> list[tuple[str, str | None]]:
    by_id = {span.context.span_id: span.name for span in spans}
    ordered = sorted(spans, key=lambda span: span.start_time)
    return [(span.name, by_id.get(span.parent.span_id) if span.parent else None) for span in ordered]


LOOP = [
    ("invoke_agent clerk", None),
    ("agent", "invoke_agent clerk"),
    ("chat gpt-4o", "agent"),
    ("tools", "invoke_agent clerk"),
    ("execute_tool look", "tools"),
    ("agent", "invoke_agent clerk"),
    ("chat gpt-4o", "agent"),
]


@pytest.mark.parametrize("hooks", [("langchain",), ("langchain", "openai")], ids=["alone", "with-client"])
def test_graph(trace: Callable[..., Any], stub: ModelStub, hooks: tuple[str, ...]) -> None:
    spans = trace(lambda stub: _agent(stub).invoke(QUESTION), *hooks, package="langgraph")
    assert _names(spans) == LOOP
    calls = [span.attributes for span in spans if span.name == "chat gpt-4o"]
    assert all(call["inferometer.attempt.statuses"] == (200,) for call in calls)
    assert all(call["inferometer.tools_offered.names"] == ("look",) for call in calls)
    assert calls[-1]["inferometer.composition.tool_results_tokens"] > 0


def test_async_graph_streamed(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        async def main() -> None:
            agent = _agent(stub, stream_usage=True)
            async for _ in agent.astream(QUESTION, {"configurable": {"thread_id": "chat-1"}}, stream_mode="messages"):
                pass

        asyncio.run(main())

    spans = trace(scenario, "langchain", "openai", package="langgraph")
    assert _names(spans) == LOOP
    last = [span.attributes for span in spans if span.name == "chat gpt-4o"][-1]
    assert last["inferometer.chunks"] > 1
    root = next(span for span in spans if span.parent is None)
    assert root.attributes["gen_ai.conversation.id"] == "chat-1"


def test_budget_stops_the_graph(stub: ModelStub) -> None:
    inferometer.instrument("langchain", "openai")
    try:
        with pytest.raises(BudgetExceeded), inferometer.agent("outer", max_inferences=1):
            _agent(stub).invoke(QUESTION)
    finally:
        inferometer.uninstrument()
    assert len(stub.served) == 1


def test_answer_out_of_the_cache_is_no_call(stub: ModelStub) -> None:
    """LangChain tells of it as of any call, with the usage of the first time."""
    from langchain_core.caches import InMemoryCache

    stub.script(Reply("one two", input_tokens=50, output_tokens=9))
    model = ChatOpenAI(model="gpt-4o", base_url=stub.openai_url, api_key="x", cache=InMemoryCache())
    with record() as recorded:
        inferometer.instrument("langchain", "openai")
        try:
            answers = [model.invoke("Xyzzy-4711: what is the plan?").content for _ in range(2)]
        finally:
            inferometer.uninstrument()
        called, cached = [span.attributes for span in recorded.spans]
    assert answers == ["one two"] * 2
    tokens = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
    assert [[call[key] for key in tokens] for call in (called, cached)] == [[50, 9], [0, 0]]
    assert ("inferometer.from_cache" in called, cached["inferometer.from_cache"]) == (False, True)
