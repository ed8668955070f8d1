"""MCP 1.x, whose SDK traces nothing: our hook carries the context over, and the server's work is under the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import pytest

import inferometer
from inferometer.testing.model_stub import ModelStub

pytest.importorskip("mcp")
pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(not version("mcp").startswith("1."), reason="mcp 2.x has an environment of its own"),
]


def _look(shelf: str) -> str:
    with inferometer.step("search"):
        if shelf == "none":
            raise ValueError("Xyzzy-4711")
        return "Xyzzy-4711"


def _fastmcp() -> Any:
    from mcp.server.fastmcp import FastMCP

    server = FastMCP("shop")
    server.tool("look")(_look)
    return server._mcp_server  # earlier releases connect to nothing else


def _low_level() -> Any:
    from mcp import types
    from mcp.server.lowlevel import Server

    server: Any = Server("shop")

    @server.list_tools()
    async def tools() -> Any:
        return [types.Tool(name="look", inputSchema={"type": "object"})]

    @server.call_tool()
    async def call(name: str, arguments: dict[str, Any]) -> Any:
        return [types.TextContent(type="text", text=_look(**arguments))]

    return server


@pytest.mark.parametrize("make", [_fastmcp, _low_level], ids=["fastmcp", "low-level"])
def test_first_release(make: Callable[[], Any], trace: Callable[..., Any], stub: ModelStub) -> None:
    from mcp.shared.memory import create_connected_server_and_client_session as connect

    async def main() -> None:
        async with connect(make()) as client:
            with inferometer.agent("clerk"):
                for shelf in ("left", "none"):
                    await client.call_tool("look", {"shelf": shelf})

    spans = trace(lambda stub: asyncio.run(main()), "mcp", package="mcp")
    by_id = {span.context.span_id: span for span in spans}
    (agent,) = [span for span in spans if span.name == "invoke_agent clerk"]
    assert agent.attributes["inferometer.agent.tool_calls"] == 2
    steps = [span for span in spans if span.name == "search"]
    assert len(steps) == 2
    for step in steps:
        server = by_id[step.parent.span_id]
        client = by_id[server.parent.span_id]
        assert (server.kind.name, client.kind.name) == ("SERVER", "CLIENT")
        assert server.parent.is_remote
        assert client.parent.span_id == agent.context.span_id
        expected = None if step.attributes.get("error.type") is None else "tool_error"
        assert [one.attributes.get("error.type") for one in (server, client)] == [expected] * 2
        keys = ("mcp.method.name", "inferometer.tool.argument_fingerprint", "inferometer.tool.result_tokens")
        assert [server.attributes[key] for key in keys] == [client.attributes[key] for key in keys]


def test_first_release_is_restored() -> None:
    from mcp.server.lowlevel import Server

    original = Server._handle_request
    inferometer.instrument("mcp")
    hooked = Server._handle_request
    inferometer.uninstrument()
    assert hooked is not original
    assert Server._handle_request is original


def test_server_on_stdio_that_is_killed_leaves_its_spans(spans_of_killed_server: Callable[[str], set[str]]) -> None:
    """Its client gives it two seconds; here it never comes to its end at all."""
    assert {"tools/call look", "search"} <= spans_of_killed_server("from mcp.server.fastmcp import FastMCP as Server")
