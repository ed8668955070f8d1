"""The ``claude-agent-sdk``: a query is an agent's run; what its result states about usage and cost becomes model calls.

The SDK runs a command-line agent in a process of its own, whose calls nobody here can see. Its messages name each tool
that is used, and its result the usage of each model over the whole run, so there is one call a model, not a request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from inferometer.integrations.base import Integration, Patches, field
from inferometer.integrations.events import OpenSpans
from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters
from inferometer.tracer.calls import Answer, Request
from inferometer.tracer.guard import report


class ClaudeAgentIntegration(Integration):
    """Traces ``query`` and ``ClaudeSDKClient.receive_response``."""

    name = "claude-agent-sdk"
    module = "claude_agent_sdk"
    distribution = "claude-agent-sdk"

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the two ways of getting a run's messages."""
        found = patches.wrap(module, "query", _hook)
        client = getattr(module, "ClaudeSDKClient", None)
        return (patches.wrap(client, "receive_response", _hook) if client is not None else False) or found


def integration() -> Integration:
    """Return the hook."""
    return ClaudeAgentIntegration()


def _hook(original: Callable[..., Any]) -> Callable[..., Any]:
    async def messages(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        run = _Run()
        error: BaseException | None = None
        try:
            async for message in original(*args, **kwargs):
                run.see(message)
                yield message
        except BaseException as raised:
            error = raised
            raise
        finally:
            run.close(None if isinstance(error, GeneratorExit) else error)

    return messages


class _Run:
    """One run: its agent span is open from the first message to the last, and current in none of the program's code."""

    def __init__(self) -> None:
        self._open = OpenSpans()
        self._inputs: dict[str, Any] = {}
        self._open.start("run", "agent", "claude")
        self._open.suspend("run")

    def see(self, message: Any) -> None:
        try:
            for block in field(message, "content") or ():
                self._see_block(block)
            if field(message, "total_cost_usd") is not None or field(message, "model_usage"):
                self._see_result(message)
        except Exception as error:
            report("claude-agent-sdk message", error)

    def _see_block(self, block: Any) -> None:
        if isinstance(block, str):
            return
        use_id = field(block, "tool_use_id")
        if use_id is not None:
            failed = "tool_error" if field(block, "is_error") else None
            self._open.end_tool(use_id, self._inputs.pop(use_id, None), field(block, "content"), failed)
        elif field(block, "input") is not None and field(block, "name") is not None:
            call_id = str(field(block, "id"))
            self._inputs[call_id] = field(block, "input")
            with self._open.within("run"):
                self._open.start(call_id, "tool", str(field(block, "name")), {names.TOOL_CALL_ID: call_id})
                self._open.suspend(call_id)

    def _see_result(self, result: Any) -> None:
        if (session := field(result, "session_id")) is not None:
            self._open.annotate("run", {names.CONVERSATION_ID: str(session)})
        by_model = field(result, "model_usage") or field(result, "modelUsage") or {}
        for model, usage in by_model.items() if isinstance(by_model, Mapping) else ():
            with self._open.within("run"):
                self._open.start_call(model, Request("chat", "anthropic", str(model)))
                self._open.end_call(model, _answer(usage))

    def close(self, error: BaseException | None) -> None:
        for call_id in list(self._inputs):
            self._open.end(call_id)
        self._open.end("run", error)


def _answer(usage: Mapping[str, Any]) -> Answer:
    cost = usage.get("costUSD")
    meters = Meters(
        input_fresh=usage.get("inputTokens"),
        cache_read=usage.get("cacheReadInputTokens"),
        cache_write_5m=usage.get("cacheCreationInputTokens"),
        output=usage.get("outputTokens"),
    )
    attributes = {} if cost is None else {names.RECORDED_COST_USD: str(cost)}
    return Answer(meters, raw_usage=dict(usage), attributes=attributes)
