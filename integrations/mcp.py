"""The ``mcp`` SDK's client: a tool called over MCP is one tool call, with trace context in ``params._meta``.

From 2.x on the SDK carries the context itself, and its server takes it up; for 1.x it is put there here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from inferometer.integrations.base import Integration, Patches, field
from inferometer.schema import attributes as names
from inferometer.tracer import recording
from inferometer.tracer.activity import Activity, Plan
from inferometer.tracer.completion import describe_tool_call
from inferometer.tracer.guard import report
from inferometer.tracer.propagation import inject

METHOD = "tools/call"


class McpIntegration(Integration):
    """Traces tools called through ``ClientSession.call_tool``."""

    name = "mcp"
    module = "mcp"
    distribution = "mcp"
    minimum = (1, 0)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the client's session."""
        carries_context = self._version().split(".")[0].isdigit() and int(self._version().split(".")[0]) >= 2
        return patches.wrap(
            module.ClientSession, "call_tool", lambda original: _hook_call_tool(original, carries_context)
        )


def integration() -> Integration:
    """Return the hook."""
    return McpIntegration()


def _hook_call_tool(original: Callable[..., Any], carries_context: bool) -> Callable[..., Any]:
    takes_meta = "meta" in inspect.signature(original).parameters

    async def call_tool(self: Any, name: str, arguments: Any = None, *args: Any, **kwargs: Any) -> Any:
        if recording.active is None:
            return await original(self, name, arguments, *args, **kwargs)
        outer = trace.get_current_span()
        # a framework's own span of this call stands for it; what MCP adds is written there
        shared = recording.span_attributes(outer).get(names.TOOL_NAME) == name
        attributes = {
            names.KIND: "tool",
            names.OPERATION: "execute_tool",
            names.TOOL_NAME: name,
            names.TOOL_TYPE: "extension",
            names.MCP_METHOD: METHOD,
        }
        plan = Plan("tool", f"{METHOD} {name}", name, SpanKind.CLIENT, attributes, None, None)
        activity = None if shared else Activity(plan)
        span = outer if activity is None else activity.open()
        if activity is None:
            span.set_attribute(names.MCP_METHOD, METHOD)
        if not carries_context and takes_meta:
            meta = dict(kwargs.get("meta") or {})
            inject(meta)
            kwargs["meta"] = meta
        try:
            result = await original(self, name, arguments, *args, **kwargs)
        except BaseException as error:
            if activity is not None:
                activity.close(error)
            raise
        _describe(span, name, arguments, result, shared)
        if activity is not None:
            activity.close(None)
        return result

    return call_tool


def _describe(span: Span, name: str, arguments: Any, result: Any, shared: bool) -> None:
    now = recording.active
    if now is None or not span.is_recording():
        return
    try:
        if field(result, "is_error") or field(result, "isError"):
            span.set_attribute(names.ERROR_TYPE, "tool_error")
        if not shared:
            said: dict[str, Any] = {}
            describe_tool_call(said, name, arguments or {}, _text(result), now.privacy)
            span.set_attributes(said)
    except Exception as error:
        report("mcp result", error)


def _text(result: Any) -> str:
    texts = [field(block, "text") for block in field(result, "content") or ()]
    return "\n".join(text for text in texts if isinstance(text, str))
