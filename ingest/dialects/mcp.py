"""Model Context Protocol: client and server spans of one request; only tool calls are tool calls."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return a tool call for ``tools/call``; every other method stays a plain span."""
    return SpanKind.TOOL if fields.get("mcp_method") == "tools/call" else SpanKind.OTHER


DIALECT = Dialect(
    name="mcp",
    reads="mcp 2.3 and the convention's MCP spans: `tools/call` by client and server, folded into the framework's tool "
    "span around them",
    aliases=gen_ai.ALIASES,
    kind=kind_of,
    scopes=("mcp-python-sdk*",),
    markers=("mcp.method.name",),
    content=(*gen_ai.CONTENT, "mcp.resource.uri"),
)
