"""LlamaIndex is traced by OpenInference: its spans are recorded by configuration alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub

pytest.importorskip("llama_index.core")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_agent(trace: Callable[..., Any], stub: ModelStub) -> None:
    from llama_index.core.agent.workflow import FunctionAgent
    from llama_index.llms.openai import OpenAI
    from openinference.instrumentation import TraceConfig
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    def look(shelf: str) -> str:
        """Look at a shelf."""
        return "fine"

    async def main(stub: ModelStub) -> None:
        model = OpenAI("gpt-4o", api_base=stub.openai_url, api_key="x")
        clerk = FunctionAgent(name="clerk", tools=[look], llm=model, streaming=False)
        assert str(await clerk.run("Xyzzy-4711: what is the plan?"))

    def scenario(stub: ModelStub) -> None:
        LlamaIndexInstrumentor().instrument(config=TraceConfig(hide_inputs=True, hide_outputs=True))
        try:
            asyncio.run(main(stub))
        finally:
            LlamaIndexInstrumentor().uninstrument()

    spans = trace(scenario, package="llama-index-core", set_global_provider=True)
    assert {span.instrumentation_scope.name for span in spans} == {"openinference.instrumentation.llama_index"}
