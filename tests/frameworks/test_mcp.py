"""MCP: the tool that a client calls and the work that the server does for it are one trace."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import inferometer
from inferometer.store import open_store
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


SERVER = """
import os, sys, threading, time
import inferometer
inferometer.configure(store=sys.argv[1], interval_s=3600, set_global_provider=True)
inferometer.instrument("mcp")
from mcp.server import MCPServer as Server
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
