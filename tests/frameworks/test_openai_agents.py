"""The openai-agents SDK, over chat completions and over responses, with a handoff."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub

openai = pytest.importorskip("openai")
agents = pytest.importorskip("agents")

pytestmark = pytest.mark.filterwarnings("ignore")


@agents.function_tool
def look(shelf: str) -> str:
    """Look at a shelf."""
    return "Xyzzy-4711"


def _run(stub: ModelStub, model: str, streamed: bool = False) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=stub.openai_url, api_key="x") as client:
            kind = agents.OpenAIResponsesModel if model == "responses" else agents.OpenAIChatCompletionsModel
            clerk = agents.Agent("clerk", instructions="be brief", tools=[look], model=kind("gpt-4o", client))
            if streamed:
                running = agents.Runner.run_streamed(clerk, "Xyzzy-4711: what is the plan?")
                async for _ in running.stream_events():
                    pass
            else:
                await agents.Runner.run(clerk, "Xyzzy-4711: what is the plan?")

    asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", ["chat", "responses"])
@pytest.mark.parametrize("hooks", [("openai-agents",), ("openai-agents", "openai")], ids=["alone", "with-client"])
def test_run(trace: Callable[..., Any], stub: ModelStub, hooks: tuple[str, ...], model: str, streamed: bool) -> None:
    agents.set_trace_processors([])
    # a stream of chat completions tells its usage only where it is asked to, as the client's hook does
    metered = "openai" in hooks or model == "responses" or not streamed
    spans = trace(lambda stub: _run(stub, model, streamed), *hooks, package="openai-agents", metered=metered)
    sources = {span.attributes["inferometer.usage.source"] for span in spans if span.name.startswith("chat")}
    assert sources == {"provider" if metered else "counted"}
    by_id = {span.context.span_id: span.name for span in spans}
    parents = {(span.name, by_id.get(span.parent.span_id) if span.parent else None) for span in spans}
    assert ("invoke_workflow Agent workflow", None) in parents
    assert any(name == "execute_tool look" for name, _ in parents)
    assert sum(span.name.startswith("chat") for span in spans) == 2
    assert len({span.context.trace_id for span in spans}) == 1
