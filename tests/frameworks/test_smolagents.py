"""smolagents is traced by OpenInference, which our hook puts in place; with its client's hook no call counts twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub, Reply, ToolUse

pytest.importorskip("smolagents")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("hooks", [("smolagents",), ("smolagents", "openai")], ids=["alone", "with-client"])
def test_agent(trace: Callable[..., Any], stub: ModelStub, hooks: tuple[str, ...]) -> None:
    from smolagents import OpenAIServerModel, Tool, ToolCallingAgent

    class Look(Tool):
        name = "look"
        description = "Look at a shelf."
        inputs = {"shelf": {"type": "string", "description": "which"}}  # noqa: RUF012
        output_type = "string"

        def forward(self, shelf: str) -> str:
            return "fine"

    def scenario(stub: ModelStub) -> None:
        stub.script(
            Reply(tools=[ToolUse("look", {"shelf": "left"})], input_tokens=90, output_tokens=9),
            Reply(tools=[ToolUse("final_answer", {"answer": "done"})], input_tokens=120, output_tokens=7),
        )
        model = OpenAIServerModel("gpt-4o", api_base=stub.openai_url, api_key="x")
        clerk = ToolCallingAgent([Look()], model, name="clerk", description="a clerk", verbosity_level=0)
        assert clerk.run("Xyzzy-4711: what is the plan?") == "done"

    spans = trace(scenario, *hooks, package="smolagents", set_global_provider=True)
    theirs = {"openinference.instrumentation.smolagents"}
    assert {span.instrumentation_scope.name for span in spans} == theirs | ({"inferometer"} if hooks[1:] else set())
