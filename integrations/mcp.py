"""The ``mcp`` SDK: a tool called over MCP is one tool call, with trace context in ``params._meta``.

From 2.x on the SDK carries the context itself, and its server takes it up with a span of its own; for 1.x both are done
here. A client's and a server's span of one call are counted once when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind

from inferometer.integrations.base import Integration, Patches, field
from inferometer.schema import attributes as names
from inferometer.tracer import recording
from inferometer.tracer.activity import Activity, Plan, detach
from inferometer.tracer.completion import describe_tool_call
from inferometer.tracer.guard import report
from inferometer.tracer.pipeline import hurry, take_time
from inferometer.tracer.propagation import extract, inject

METHOD = "tools/call"
_STDIO_SERVERS = ("mcp.server.stdio", "mcp.server.fastmcp.server", "mcp.server.mcpserver.server")
"""Modules under whose name of it ``stdio_server`` is called."""


class McpIntegration(Integration):
    """Traces tools called through ``ClientSession.call_tool``, and in 1.x those that a server is asked for."""

    name = "mcp"
    module = "mcp"
    distribution = "mcp"
    minimum = (1, 0)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the client's session, and the server on which both of the SDK's ways to write one rest."""
        for place in _STDIO_SERVERS:
            patches.when_imported(place, _patch_stdio)
        patches.on_undo(take_time)
        if self._version().startswith("1."):
            patches.wrap(module.ClientSession, "send_request", _hook_send_request)
            patches.when_imported("mcp.server.lowlevel.server", _patch_server)
        return patches.wrap(module.ClientSession, "call_tool", _hook_call_tool)


def integration() -> Integration:
    """Return the hook."""
    return McpIntegration()


def _patch_stdio(module: Any, patches: Patches) -> None:
    patches.wrap(module, "stdio_server", _hook_stdio_server)


def _hook_stdio_server(original: Callable[..., Any]) -> Callable[..., Any]:
    """A client ends a server that it started two seconds after the last answer, whatever that is still at."""

    def stdio_server(*args: Any, **kwargs: Any) -> Any:
        hurry()
        return original(*args, **kwargs)

    return stdio_server


def _hook_send_request(original: Callable[..., Any]) -> Callable[..., Any]:
    async def send_request(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if recording.active is not None:
            try:
                _carry_context(request.root.params)
            except Exception as error:
                report("mcp context", error)
        return await original(self, request, *args, **kwargs)

    return send_request


def _carry_context(params: Any) -> None:
    carrier: dict[str, str] = {}
    inject(carrier)
    if carrier and params is not None:
        said = params.meta.model_dump(exclude_none=True) if params.meta is not None else {}
        params.meta = type(params).Meta(**{**said, **carrier})


def _hook_call_tool(original: Callable[..., Any]) -> Callable[..., Any]:
    async def call_tool(self: Any, name: str, arguments: Any = None, *args: Any, **kwargs: Any) -> Any:
        if recording.active is None:
            return await original(self, name, arguments, *args, **kwargs)
        outer = trace.get_current_span()
        # a framework's own span of this call stands for it; what MCP adds is written there
        shared = recording.span_attributes(outer).get(names.TOOL_NAME) == name
        activity = None if shared else Activity(_plan(name, SpanKind.CLIENT))
        span = outer if activity is None else activity.open()
        if activity is None:
            span.set_attribute(names.MCP_METHOD, METHOD)
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


def _plan(tool: str, kind: SpanKind) -> Plan:
    attributes = {
        names.KIND: "tool",
        names.OPERATION: "execute_tool",
        names.TOOL_NAME: tool,
        names.TOOL_TYPE: "extension",
        names.MCP_METHOD: METHOD,
    }
    return Plan("tool", f"{METHOD} {tool}", tool, kind, attributes, None, None)


def _patch_server(module: Any, patches: Patches) -> None:
    patches.wrap(module.Server, "_handle_request", _hook_handle_request)


def _hook_handle_request(original: Callable[..., Any]) -> Callable[..., Any]:
    async def handle_request(self: Any, message: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        if recording.active is None:
            return await original(self, message, request, *args, **kwargs)
        token, activity = _begin_serving(message, request)
        try:
            result = await original(self, message, request, *args, **kwargs)
        except BaseException as error:
            if activity is not None:
                activity.close(error)
            raise
        else:
            if activity is not None:
                activity.close(None)
            return result
        finally:
            if token is not None:
                detach(token)

    return handle_request


def _begin_serving(message: Any, request: Any) -> tuple[Any, Activity | None]:
    """Take up a client's context for as long as a server is at its request, with a span where that is for a tool."""
    token = None
    try:
        ambient = trace.get_current_span().get_span_context()
        context = _context_of(message)
        if context is not None:
            token = otel_context.attach(context)
        if field(request, "method") != METHOD:
            return token, None
        tool, arguments = str(field(request.params, "name")), field(request.params, "arguments")
        activity = Activity(_plan(tool, SpanKind.SERVER))
        span = activity.open()
        if context is not None and ambient.is_valid and ambient.trace_id != span.get_span_context().trace_id:
            span.add_link(ambient)  # as of the HTTP request that brought the call
        respond = message.respond

        async def observed(response: Any) -> Any:
            _describe(span, tool, arguments, field(response, "root") or response, False)
            return await respond(response)

        message.respond = observed
    except Exception as error:
        report("mcp request", error)
        return token, None
    return token, activity


def _context_of(message: Any) -> Context | None:
    """Return the context that a request's ``_meta`` carries, None where that names no trace."""
    meta = message.request_meta
    if meta is None:
        return None
    said = meta if isinstance(meta, Mapping) else meta.model_dump(exclude_none=True)
    context = extract({name: value for name, value in said.items() if isinstance(value, str)}, Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def _describe(span: Span, name: str, arguments: Any, result: Any, shared: bool) -> None:
    now = recording.active
    if now is None or not span.is_recording():
        return
    try:
        if field(result, "is_error") or field(result, "isError"):
            span.set_attribute(names.ERROR_TYPE, "tool_error")
        elif isinstance(code := field(result, "code"), int):
            span.set_attribute(names.ERROR_TYPE, str(code))  # JSON-RPC's
        if not shared:
            said: dict[str, Any] = {}
            describe_tool_call(said, name, arguments or {}, _text(result), now.privacy)
            span.set_attributes(said)
    except Exception as error:
        report("mcp result", error)


def _text(result: Any) -> str | None:
    """Return what a tool said; None where there is no result."""
    if (content := field(result, "content")) is None:
        return None
    texts = [field(block, "text") for block in content]
    return "\n".join(text for text in texts if isinstance(text, str))
