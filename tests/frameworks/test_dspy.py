"""DSPy: modules and tools by OpenInference, which tells no tokens; the engines beneath tell them, whichever is used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import inferometer
from inferometer.integrations.openinference import OpenInferenceIntegration
from inferometer.store import open_store
from inferometer.testing.model_stub import ModelStub, Reply

pytest.importorskip("dspy")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def _no_price_map(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")


def _look(shelf: str) -> str:
    """Look at a shelf."""
    return "fine"


def _turn(tool: str, arguments: str) -> Reply:
    marks = {"next_thought": "go on", "next_tool_name": tool, "next_tool_args": arguments, "completed": ""}
    text = "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in marks.items())
    return Reply(text, input_tokens=90, output_tokens=9, cached_tokens=40)


@pytest.mark.parametrize("engine", ["auto", "litellm"])
def test_agent(trace: Callable[..., Any], stub: ModelStub, engine: str) -> None:
    def scenario(stub: ModelStub) -> None:
        import dspy

        stub.script(
            _turn("_look", '{"shelf": "left"}'),
            _turn("finish", "{}"),
            Reply("[[ ## reasoning ## ]]\nwell\n\n[[ ## answer ## ]]\ndone\n\n[[ ## completed ## ]]\n"),
        )
        model = dspy.LM("openai/gpt-4o", api_base=stub.openai_url, api_key="x", cache=False, engine=engine)
        with dspy.context(lm=model):
            clerk = dspy.ReAct("question -> answer", tools=[_look])
            assert clerk(question="Xyzzy-4711: what is the plan?").answer == "done"

    spans = trace(scenario, "dspy", "litellm", "openai", package="dspy", set_global_provider=True)
    scopes = {span.instrumentation_scope.name for span in spans}
    assert scopes == {"openinference.instrumentation.dspy", "inferometer"}
    assert {span.attributes.get("gen_ai.provider.name") for span in spans if span.kind.name == "CLIENT"} == {"openai"}


def test_stream_and_cache_by_the_engine_alone(
    trace: Callable[..., Any], stub: ModelStub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(OpenInferenceIntegration, "instrumented", False)

    def scenario(stub: ModelStub) -> None:
        import dspy

        dspy.configure_cache(disk_cache_dir=str(tmp_path))
        reply = Reply("[[ ## answer ## ]]\none two three\n\n[[ ## completed ## ]]\n", input_tokens=70, output_tokens=5)
        stub.script(reply, reply)

        async def read() -> list[Any]:
            listener = [dspy.streaming.StreamListener(signature_field_name="answer")]
            program = dspy.streamify(dspy.Predict("question -> answer"), stream_listeners=listener)
            return [piece async for piece in program(question="Xyzzy-4711?")]

        with dspy.context(lm=dspy.LM("openai/gpt-4o", api_base=stub.openai_url, api_key="x")):
            for _ in range(2):  # the second time from the cache, which is no call
                assert dspy.Predict("question -> answer")(question="Xyzzy-4711").answer == "one two three"
        with dspy.context(lm=dspy.LM("openai/gpt-4o", api_base=stub.openai_url, api_key="x", cache=False)):
            assert asyncio.run(read())[-1].answer == "one two three"

    whole, streamed = trace(scenario, "dspy", package="dspy")
    assert whole.attributes["gen_ai.usage.input_tokens"] == streamed.attributes["gen_ai.usage.input_tokens"] == 70
    assert streamed.attributes["gen_ai.request.stream"] is True
    assert streamed.attributes["inferometer.chunks"] > 1


def test_answer_out_of_the_cache_is_no_call(stub: ModelStub, tmp_path: Path) -> None:
    """OpenInference tells of it as of any call, without usage: that is none of an unknown size, but none at all."""
    pytest.importorskip("openinference.instrumentation.dspy")
    import dspy

    dspy.configure_cache(disk_cache_dir=str(tmp_path / "cache"))
    stub.script(Reply("[[ ## answer ## ]]\none two\n\n[[ ## completed ## ]]\n", input_tokens=70, output_tokens=5))
    database = str(tmp_path / "store.db")
    inferometer.configure(store=database, set_global_provider=True)
    inferometer.instrument("dspy", "litellm")
    try:
        with dspy.context(lm=dspy.LM("openai/gpt-4o", api_base=stub.openai_url, api_key="x")):
            for _ in range(2):
                with inferometer.agent("clerk"):
                    assert dspy.Predict("question -> answer")(question="Why?").answer == "one two"
        assert inferometer.flush()
    finally:
        inferometer.uninstrument()
        inferometer.shutdown()
    with open_store(database) as store:
        (called,) = store.inferences()
        cached = [
            row.inference for row in store.inferences(billable_only=False) if "cache" in str(row.inference.reasons)
        ]
    assert called.inference.meters.input_total == 70
    assert [call.billable for call in cached] == [False]
