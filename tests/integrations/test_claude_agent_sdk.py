"""The claude-agent-sdk hook over messages of the SDK's shapes; the SDK itself bundles a program of 168 MB."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from opentelemetry import trace

import inferometer
from inferometer.testing import Recorded

RESULT = SimpleNamespace(
    subtype="success",
    session_id="s-1",
    total_cost_usd=0.0123,
    usage={"input_tokens": 4},
    model_usage={
        "claude-sonnet-5": {
            "inputTokens": 100,
            "outputTokens": 20,
            "cacheReadInputTokens": 4000,
            "cacheCreationInputTokens": 300,
            "costUSD": 0.0123,
        },
        "claude-haiku-5": {"inputTokens": 50, "outputTokens": 5},
    },
)
MESSAGES = [
    SimpleNamespace(
        content=[SimpleNamespace(text="I look."), SimpleNamespace(id="t1", name="Read", input={"file": "SECRET"})]
    ),
    SimpleNamespace(content=[SimpleNamespace(tool_use_id="t1", content="SECRET text", is_error=False)]),
    SimpleNamespace(content="SECRET question"),
    RESULT,
]


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module of the SDK's shape."""
    module = ModuleType("claude_agent_sdk")
    module.__spec__ = ModuleSpec("claude_agent_sdk", None)

    async def query(*, prompt: str) -> AsyncIterator[Any]:
        for message in MESSAGES:
            yield message

    module.query = query  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "claude_agent_sdk", module)
    inferometer.instrument("claude-agent-sdk")
    yield module
    inferometer.uninstrument()


def test_run_tools_and_usage_by_model_are_recorded(sdk: Any, recorded: Recorded) -> None:
    async def main() -> int:
        count = 0
        async for _ in sdk.query(prompt="SECRET"):
            assert trace.get_current_span() is trace.INVALID_SPAN
            count += 1
        return count

    assert asyncio.run(main()) == len(MESSAGES)
    agent = recorded.named("invoke_agent claude")
    tool, sonnet = recorded.named("execute_tool Read"), recorded.named("chat claude-sonnet-5")
    assert {span.parent.span_id for span in (tool, sonnet)} == {agent.context.span_id}
    assert agent.attributes["gen_ai.conversation.id"] == "s-1"
    assert tool.attributes["inferometer.tool.result_tokens"] > 0
    assert sonnet.attributes["gen_ai.usage.input_tokens"] == 4400
    assert sonnet.attributes["gen_ai.usage.cache_read.input_tokens"] == 4000
    assert sonnet.attributes["inferometer.recorded_cost_usd"] == "0.0123"
    assert "SECRET" not in "".join(span.to_json() for span in recorded.spans)


def test_run_left_early_ends(sdk: Any, recorded: Recorded) -> None:
    async def main() -> None:
        messages = sdk.query(prompt="x")
        await anext(messages)
        await messages.aclose()

    asyncio.run(main())
    assert {span.name for span in recorded.spans} == {"invoke_agent claude", "execute_tool Read"}
