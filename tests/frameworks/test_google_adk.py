"""The Agent Development Kit traces itself: it is recorded by configuration alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.trace import StatusCode

from inferometer.testing.model_stub import ModelStub, Reply, ToolUse

pytest.importorskip("google.adk")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_agent(trace: Callable[..., Any], stub: ModelStub, monkeypatch: pytest.MonkeyPatch) -> None:
    from google.adk.agents import LlmAgent
    from google.adk.runners import InMemoryRunner
    from google.genai import types

    monkeypatch.setenv("GOOGLE_API_KEY", "x")
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", stub.url)
    monkeypatch.setenv("ADK_CAPTURE_MESSAGE_CONTENT_IN_SPANS", "false")

    def look(shelf: str) -> str:
        """Look at a shelf."""
        return "fine"

    async def main() -> None:
        clerk = LlmAgent(name="clerk", model="gemini-2.5-flash", tools=[look])
        runner = InMemoryRunner(clerk, app_name="shop")
        session = await runner.session_service.create_session(app_name="shop", user_id="u1")
        said = types.Content(role="user", parts=[types.Part(text="Xyzzy-4711: what is the plan?")])
        async for _ in runner.run_async(user_id="u1", session_id=session.id, new_message=said):
            pass
        await runner.close()

    stub.script(Reply(tools=[ToolUse("look", {"shelf": "left"})]), Reply("done"))
    spans = trace(lambda stub: asyncio.run(main()), package="google-adk", set_global_provider=True)
    assert not [span.name for span in spans if span.status.status_code is StatusCode.ERROR]
    assert {span.instrumentation_scope.name for span in spans} == {"gcp.vertex.agent"}
