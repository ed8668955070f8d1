"""MCP 1.x, whose SDK traces nothing: our hook carries the context over, and the server's work is under the call."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

import inferometer
from inferometer.store import open_store
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


SERVER = """
import os, sys, threading, time
import inferometer
inferometer.configure(store=sys.argv[1], interval_s=3600, set_global_provider=True)
inferometer.instrument("mcp")
from mcp.server.fastmcp import FastMCP as Server
server = Server("shop")

@server.tool()
def look(shelf: str) -> str:
    with inferometer.step("search"):
        return shelf

def end() -> None:
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
    os._exit(9)

threading.Thread(target=end, daemon=True).start()
server.run("stdio")
"""


def test_server_on_stdio_that_is_killed_leaves_its_spans(tmp_path: Path) -> None:
    """Its client gives it two seconds; here it never comes to its end at all."""
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    script, database, killed = tmp_path / "server.py", tmp_path / "store.db", tmp_path / "killed"
    script.write_text(SERVER)
    words = [str(script), str(database), str(killed)]

    def names() -> set[str]:
        with open_store(str(database)) as store:
            return {span.name for run in store.runs() for span in store.spans_of_run(run.run_id)}

    async def main() -> None:
        parameters = StdioServerParameters(command=sys.executable, args=words, env=dict(os.environ))
        async with stdio_client(parameters) as streams, ClientSession(*streams) as client:
            await client.initialize()
            await client.call_tool("look", {"shelf": "left"})
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (database.exists() and "tools/call look" in names()):
                await asyncio.sleep(0.05)
            killed.touch()

    asyncio.run(main())
    assert {"tools/call look", "search"} <= names()
