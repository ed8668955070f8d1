"""LlamaIndex is traced by OpenInference, which our hook puts in place; with its client's hook no call counts twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub

pytest.importorskip("llama_index.core")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("hooks", [("llama-index",), ("llama-index", "openai")], ids=["alone", "with-client"])
def test_agent(trace: Callable[..., Any], stub: ModelStub, hooks: tuple[str, ...]) -> None:
    def look(shelf: str) -> str:
        """Look at a shelf."""
        return "fine"

    async def main(stub: ModelStub) -> None:
        from llama_index.core.agent.workflow import FunctionAgent
        from llama_index.llms.openai import OpenAI

        model = OpenAI("gpt-4o", api_base=stub.openai_url, api_key="x")
        clerk = FunctionAgent(name="clerk", tools=[look], llm=model, streaming=False)
        assert str(await clerk.run("Xyzzy-4711: what is the plan?"))

    spans = trace(lambda stub: asyncio.run(main(stub)), *hooks, package="llama-index-core", set_global_provider=True)
    theirs = {"openinference.instrumentation.llama_index"}
    assert {span.instrumentation_scope.name for span in spans} == theirs | ({"inferometer"} if hooks[1:] else set())
