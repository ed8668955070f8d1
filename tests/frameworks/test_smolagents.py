"""smolagents is traced by OpenInference: its spans are recorded by configuration alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub, Reply, ToolUse

pytest.importorskip("smolagents")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_agent(trace: Callable[..., Any], stub: ModelStub) -> None:
    from openinference.instrumentation import TraceConfig
    from openinference.instrumentation.smolagents import SmolagentsInstrumentor
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
        SmolagentsInstrumentor().instrument(config=TraceConfig(hide_inputs=True, hide_outputs=True))
        try:
            model = OpenAIServerModel("gpt-4o", api_base=stub.openai_url, api_key="x")
            clerk = ToolCallingAgent([Look()], model, name="clerk", description="a clerk", verbosity_level=0)
            assert clerk.run("Xyzzy-4711: what is the plan?") == "done"
        finally:
            SmolagentsInstrumentor().uninstrument()

    spans = trace(scenario, package="smolagents", set_global_provider=True)
    assert {span.instrumentation_scope.name for span in spans} == {"openinference.instrumentation.smolagents"}
