"""LiteLLM over the stub's OpenAI and Anthropic interfaces: its cost is recorded, a call is one span."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

import pytest

import inferometer
from inferometer.testing import record
from inferometer.testing.model_stub import Failure, ModelStub, Reply

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it asks the network for prices when it is imported
litellm = pytest.importorskip("litellm")
pytestmark = pytest.mark.filterwarnings("ignore")
MESSAGES: Any = [{"role": "user", "content": "Xyzzy-4711: what is the plan?"}]


def _openai(stub: ModelStub) -> dict[str, Any]:
    return {"model": "openai/gpt-4o", "api_base": stub.openai_url, "api_key": "x", "messages": MESSAGES}


def _anthropic(stub: ModelStub) -> dict[str, Any]:
    return {"model": "anthropic/claude-sonnet-4-5", "api_base": stub.url, "api_key": "x", "messages": MESSAGES}


@pytest.mark.parametrize("hooks", [("litellm",), ("litellm", "openai")], ids=["alone", "with-client"])
def test_openai(trace: Callable[..., Any], stub: ModelStub, hooks: tuple[str, ...]) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(*(Reply("one two", input_tokens=50, output_tokens=9, cached_tokens=32) for _ in range(2)))
        litellm.completion(**_openai(stub), temperature=0.5)
        chunks = list(litellm.completion(**_openai(stub), stream=True))
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two"
        assert all(getattr(chunk, "usage", None) is None for chunk in chunks)

    plain, streamed = trace(scenario, *hooks, package="litellm")
    assert plain.attributes["gen_ai.request.model"] == "gpt-4o"
    assert float(plain.attributes["inferometer.recorded_cost_usd"]) > 0
    assert streamed.attributes["inferometer.chunks"] >= 2
    assert "inferometer.recorded_cost_usd" not in streamed.attributes  # LiteLLM says 0.0 while it streams
    assert plain.attributes["inferometer.attempt.statuses"] == (200,)


def test_anthropic_async_and_errors(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        stub.script(
            Reply("fine", input_tokens=50, output_tokens=9, cached_tokens=32, cache_write_5m=8),
            Reply("one two", input_tokens=50, output_tokens=2),
            Failure(400),
        )

        async def main() -> None:
            await litellm.acompletion(**_anthropic(stub))
            async for _ in await litellm.acompletion(**_anthropic(stub), stream=True):
                pass
            with pytest.raises(litellm.BadRequestError):
                await litellm.acompletion(**_anthropic(stub))

        asyncio.run(main())

    plain, streamed, failed = trace(scenario, "litellm", package="litellm")
    assert plain.attributes["gen_ai.provider.name"] == "anthropic"
    assert plain.attributes["gen_ai.usage.cache_write.input_tokens"] == 8
    assert streamed.attributes["gen_ai.request.stream"] is True
    assert failed.attributes["error.type"].endswith("BadRequestError")


def test_embedding(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        litellm.embedding(model="openai/text-embedding-3-small", input=["a"], api_base=stub.openai_url, api_key="x")

    (span,) = trace(scenario, "litellm", package="litellm", metered=False)
    assert span.attributes["gen_ai.usage.input_tokens"] == 1


@pytest.mark.parametrize("stream", [False, True])
def test_answer_out_of_its_cache_is_no_call(stub: ModelStub, monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    """LiteLLM gives usage and cost of the first time again and says so beside them; its cache needs its proxy."""
    complete = litellm.completion

    def again(**kwargs: Any) -> Any:
        response = complete(**kwargs)
        response._hidden_params["cache_hit"] = True
        return response

    monkeypatch.setattr(litellm, "completion", again)
    stub.script(Reply("one two", input_tokens=50, output_tokens=9))
    with record() as recorded:
        inferometer.instrument("litellm")
        try:
            answer = litellm.completion(**_openai(stub), stream=stream)
            if stream:
                list(answer)
        finally:
            inferometer.uninstrument()
        (span,) = recorded.spans
    assert span.attributes["inferometer.from_cache"] is True
    assert span.attributes["gen_ai.usage.input_tokens"] == span.attributes["gen_ai.usage.output_tokens"] == 0
    assert "inferometer.recorded_cost_usd" not in span.attributes
