"""Pydantic AI traces itself: it is recorded by configuration alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub

pytest.importorskip("pydantic_ai")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_agent(trace: Callable[..., Any], stub: ModelStub) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.instrumented import InstrumentationSettings
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def scenario(stub: ModelStub) -> None:
        model = OpenAIChatModel("gpt-4o", provider=OpenAIProvider(base_url=stub.openai_url, api_key="x"))
        Agent.instrument_all(InstrumentationSettings(include_content=False))
        clerk = Agent(model, name="clerk")

        @clerk.tool_plain
        def look(shelf: str) -> str:
            """Look at a shelf."""
            return "fine"

        assert clerk.run_sync("Xyzzy-4711: what is the plan?").output

    spans = trace(scenario, package="pydantic-ai-slim", set_global_provider=True)
    assert {span.instrumentation_scope.name for span in spans} == {"pydantic-ai"}
