"""The agent framework traces itself: it is recorded by configuration alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub

pytest.importorskip("agent_framework")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_agent(trace: Callable[..., Any], stub: ModelStub, streamed: bool) -> None:
    from agent_framework import Agent
    from agent_framework.openai import OpenAIChatClient

    def look(shelf: str) -> str:
        """Look at a shelf."""
        return "fine"

    async def main(stub: ModelStub) -> None:
        client = OpenAIChatClient(model="gpt-4o", base_url=stub.openai_url, api_key="x")
        clerk = Agent(client, "be brief", name="clerk", tools=[look])
        if streamed:
            async for _ in clerk.run("Xyzzy-4711: what is the plan?", stream=True):
                pass
        else:
            assert (await clerk.run("Xyzzy-4711: what is the plan?")).text

    spans = trace(lambda stub: asyncio.run(main(stub)), package="agent-framework-core", set_global_provider=True)
    assert {span.instrumentation_scope.name for span in spans} == {"agent_framework"}
