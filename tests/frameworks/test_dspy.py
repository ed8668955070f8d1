"""DSPy is traced by OpenInference, which leaves tokens out; the LiteLLM hook beneath adds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferometer.testing.model_stub import ModelStub, Reply

pytest.importorskip("dspy")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_agent(trace: Callable[..., Any], stub: ModelStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import dspy
    from openinference.instrumentation import TraceConfig
    from openinference.instrumentation.dspy import DSPyInstrumentor

    def look(shelf: str) -> str:
        """Look at a shelf."""
        return "fine"

    def turn(tool: str, arguments: str) -> Reply:
        marks = {"next_thought": "go on", "next_tool_name": tool, "next_tool_args": arguments, "completed": ""}
        text = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in marks.items())
        return Reply(text, input_tokens=90, output_tokens=9)

    def scenario(stub: ModelStub) -> None:
        stub.script(
            turn("look", '{"shelf": "left"}'),
            turn("finish", "{}"),
            Reply("[[ ## reasoning ## ]]\nwell\n\n[[ ## answer ## ]]\ndone\n\n[[ ## completed ## ]]\n"),
        )
        DSPyInstrumentor().instrument(config=TraceConfig(hide_inputs=True, hide_outputs=True))
        try:
            model = dspy.LM("openai/gpt-4o", api_base=stub.openai_url, api_key="x", cache=False, engine="litellm")
            with dspy.context(lm=model):
                clerk = dspy.ReAct("question -> answer", tools=[look])
                assert clerk(question="Xyzzy-4711: what is the plan?").answer == "done"
        finally:
            DSPyInstrumentor().uninstrument()

    spans = trace(scenario, "litellm", package="dspy", set_global_provider=True)
    scopes = {span.instrumentation_scope.name for span in spans}
    assert scopes == {"openinference.instrumentation.dspy", "inferometer"}
