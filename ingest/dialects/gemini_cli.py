"""Gemini CLI: ``gen_ai.*`` keys with operation names of its own; output leaves thoughts out."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.ingest.values import as_whole
from inferometer.schema.records import Operation, SpanKind

_KINDS: dict[str, SpanKind | Operation] = {
    "llm_call": Operation.CHAT,
    "tool_call": SpanKind.TOOL,
    "agent_call": SpanKind.AGENT,
    "user_prompt": SpanKind.AGENT,
    "system_prompt": SpanKind.STEP,
    "schedule_tool_calls": SpanKind.STEP,
}


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what its own operation names say."""
    operation = fields.get("operation")
    known = _KINDS.get(operation) if isinstance(operation, str) else None
    return known or gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Name the provider; thoughts stand beside the output, what tools of the provider gave beside the input."""
    fields.setdefault("provider", "gcp.gemini")
    fields["reasoning_beside"] = True
    given, tool = as_whole(fields.get("input")), as_whole(raw.attributes.get("tool_token_count"))
    if given is not None and tool:
        fields["input"] = given + tool


DIALECT = Dialect(
    name="gemini-cli",
    reads="Gemini CLI (`telemetry/constants.ts`, 2026-11): model, tool and agent calls, usage with cached tokens, "
    "thoughts beside the output",
    aliases=extend(
        gen_ai.ALIASES,
        {
            "cache_read": ("cached_content_token_count",),
            "reasoning": ("thoughts_token_count",),
        },
        input=("input_token_count",),
        output=("output_token_count",),
        total=("total_token_count",),
        response_model=("model",),
    ),
    kind=kind_of,
    scopes=("gemini-cli*", "gemini_cli*"),
    content=(*gen_ai.CONTENT, "prompt", "response_text", "request_text", "function_args"),
    refine=refine,
)
