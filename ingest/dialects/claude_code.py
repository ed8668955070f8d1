"""Claude Code and the Claude Agent SDK: interactions, requests with input that leaves cached tokens out, tools."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind, UsageSemantics

_KINDS: dict[str, SpanKind | Operation] = {
    "interaction": SpanKind.AGENT,
    "llm_request": Operation.CHAT,
    "tool": SpanKind.TOOL,
    "tool.execution": SpanKind.STEP,
    "tool.blocked_on_user": SpanKind.STEP,
}


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what ``span.type`` or the span's name says, with or without its prefix."""
    for name in (fields.get("kind"), raw.name):
        if isinstance(name, str):
            known = _KINDS.get(name.removeprefix("claude_code."))
            if known is not None:
                return known
    return gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Name the provider, which the spans leave out, and the agent of a sub-agent's request."""
    if "input" in fields or "output" in fields:
        fields.setdefault("provider", "anthropic")
    attempt = fields.pop("attempt", None)
    if isinstance(attempt, int) and attempt > 1:
        fields.setdefault("resends", attempt - 1)


DIALECT = Dialect(
    name="claude-code",
    reads="Claude Code (2.1.224 seen by others) and the Claude Agent SDK with enhanced telemetry: requests "
    "(input without cached tokens), attempts, first token, request ids, tools, sub-agents; its logs join by request id",
    aliases=extend(
        gen_ai.ALIASES,
        {
            "kind": ("span.type",),
            "response_model": ("model",),
            "input": ("input_tokens",),
            "output": ("output_tokens",),
            "cache_read": ("cache_read_tokens", "cache_read_input_tokens"),
            "cache_write": ("cache_creation_tokens", "cache_creation_input_tokens"),
            "ttft_ms": ("ttft_ms",),
            "attempt": ("attempt",),
            "finish_reason": ("stop_reason",),
            "cost_usd": ("cost_usd",),
            "session_id": ("session.id",),
            "tool_name": ("tool_name",),
            "tool_call_id": ("tool_use_id", "gen_ai.tool.call.id"),
            "request_id": ("request_id",),
        },
        agent_name=("subagent_type",),
        user_id=("user.account_uuid",),
    ),
    kind=kind_of,
    scopes=("com.anthropic.claude_code*", "claude_code*", "claude-code*"),
    markers=("query_source",),
    content=(
        *gen_ai.CONTENT,
        "user_prompt",
        "full_command",
        "file_path",
        "tool.output",
        "tool_input",
        "tool_parameters",
        "new_context",
        "system_prompt*",
        "response.*",
    ),
    semantics=UsageSemantics.EXCLUSIVE,
    refine=refine,
)
