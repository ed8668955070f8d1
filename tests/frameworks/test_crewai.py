"""CrewAI over its own OpenAI client: crew, agent, task, tool and calls as one tree."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub, Reply, ToolUse

crewai = pytest.importorskip("crewai")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("hooks", [("crewai",), ("crewai", "openai")], ids=["alone", "with-client"])
def test_crew(
    trace: Callable[..., Any], stub: ModelStub, hooks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREWAI_DISABLE_TELEMETRY", "true")
    from crewai.tools import tool

    @tool("look")
    def look(shelf: str) -> str:
        """Look at a shelf."""
        return "Xyzzy-4711"

    def scenario(stub: ModelStub) -> None:
        stub.script(Reply(tools=[ToolUse("look", {"shelf": "a"})]), Reply("The answer is fine."))
        model = crewai.LLM(model="openai/gpt-4o", base_url=stub.openai_url, api_key="x")
        clerk = crewai.Agent(role="clerk", goal="Answer.", backstory="Brief.", llm=model, tools=[look], verbose=False)
        task = crewai.Task(
            description="Xyzzy-4711: what is the plan?", expected_output="A text.", agent=clerk, name="plan"
        )
        crewai.Crew(agents=[clerk], tasks=[task], verbose=False, name="shop").kickoff()

    spans = trace(scenario, *hooks, package="crewai")
    by_id = {span.context.span_id: span.name for span in spans}
    tree = {(span.name, by_id.get(span.parent.span_id) if span.parent else None) for span in spans}
    assert ("invoke_workflow shop", None) in tree
    assert ("invoke_agent clerk", "plan") in tree
    assert ("execute_tool look", "invoke_agent clerk") in tree
    assert ("chat gpt-4o", "invoke_agent clerk") in tree
