"""Strands traces itself, over whatever provider is set: it is recorded by configuration alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub

pytest.importorskip("strands")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_agent(trace: Callable[..., Any], stub: ModelStub) -> None:
    from strands import Agent, tool
    from strands.models.openai import OpenAIModel

    @tool
    def look(shelf: str) -> str:
        """Look at a shelf."""
        return "fine"

    def scenario(stub: ModelStub) -> None:
        model = OpenAIModel(client_args={"base_url": stub.openai_url, "api_key": "x"}, model_id="gpt-4o")
        # its spans always carry what was said; the store keeps none of it
        clerk = Agent(name="clerk", model=model, tools=[look], callback_handler=None)
        assert str(clerk("what is the plan?"))

    spans = trace(scenario, package="strands-agents", set_global_provider=True)
    assert {span.instrumentation_scope.name for span in spans} == {"strands.telemetry.tracer"}
