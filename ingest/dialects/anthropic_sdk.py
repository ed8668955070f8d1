"""The Anthropic SDK's own spans and the Claude platform's SERVER spans for the same calls."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_TOOLS = ("anthropic.tool_use", "anthropic.custom_tool_use", "anthropic.mcp_tool_use")


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return the operation, else what the span's name says."""
    known = gen_ai.kind_of(raw, fields)
    if known is not None:
        return known
    if raw.name.startswith(_TOOLS):
        return SpanKind.TOOL
    if raw.name == "anthropic.messages.tool_runner":
        return SpanKind.AGENT
    return Operation.CHAT if raw.name == "anthropic.messages.create" else None


DIALECT = Dialect(
    name="anthropic-sdk",
    reads="anthropic 2.12 (`com.anthropic.sdk.python`) and the Claude platform's SERVER spans: inclusive usage, "
    "service tier, stop reason, resends, tool runner",
    aliases=extend(
        gen_ai.ALIASES,
        {"service_tier": ("anthropic.response.service_tier",)},
        finish_reason=("anthropic.message.stop_reason",),
        session_id=("anthropic.session.id",),
        response_id=("anthropic.message.id",),
    ),
    kind=kind_of,
    scopes=("com.anthropic.sdk*", "com.anthropic.claude-platform*"),
    markers=("anthropic.message.stop_reason",),
    content=(*gen_ai.CONTENT, "anthropic.tool_result.content"),
)
