"""MCP: the tool that a client calls and the work that the server does for it are one trace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import inferometer
from inferometer.testing.model_stub import ModelStub

mcp = pytest.importorskip("mcp")
pytestmark = pytest.mark.filterwarnings("ignore")


def _server() -> Any:
    from mcp.server import MCPServer

    server = MCPServer("shop")

    @server.tool()
    def look(shelf: str) -> str:
        with inferometer.step("search"):
            return "Xyzzy-4711"

    @server.tool()
    def fail(shelf: str) -> str:
        raise ValueError("Xyzzy-4711")

    return server


async def _use(inside: bool) -> None:
    async with mcp.Client(_server()) as client:
        if inside:
            with inferometer.tool("look"):
                await client.call_tool("look", {"shelf": "Xyzzy-4711"})
        else:
            await client.call_tool("look", {"shelf": "Xyzzy-4711"})
            await client.call_tool("fail", {"shelf": "Xyzzy-4711"})


def test_client_and_server(trace: Callable[..., Any], stub: ModelStub) -> None:
    def scenario(stub: ModelStub) -> None:
        with inferometer.agent("clerk"):
            asyncio.run(_use(inside=False))

    spans = {span.name: span for span in trace(scenario, "mcp", package="mcp")}
    look, fail, agent = spans["tools/call look"], spans["tools/call fail"], spans["invoke_agent clerk"]
    assert look.attributes["mcp.method.name"] == "tools/call"
    assert look.attributes["inferometer.tool.result_tokens"] > 0
    assert fail.attributes["error.type"] == "tool_error"
    assert look.parent.span_id == agent.context.span_id
    assert spans["search"].context.trace_id == agent.context.trace_id
    assert spans["search"].parent.span_id == look.context.span_id


def test_a_frameworks_own_tool_span_stands_for_the_call(trace: Callable[..., Any], stub: ModelStub) -> None:
    spans = trace(lambda stub: asyncio.run(_use(inside=True)), "mcp", package="mcp")
    (tool,) = [span for span in spans if span.attributes.get("gen_ai.tool.name") == "look"]
    assert tool.attributes["mcp.method.name"] == "tools/call"


def test_server_on_stdio_that_is_killed_leaves_its_spans(spans_of_killed_server: Callable[[str], set[str]]) -> None:
    """Its client gives it two seconds; here it never comes to its end at all."""
    assert {"tools/call look", "search"} <= spans_of_killed_server("from mcp.server import MCPServer as Server")
