"""pydantic-ai and Logfire: ``gen_ai.*`` with an agent span that repeats its calls' sums, in all span versions."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return the operation, else what the span names and attributes of older versions say."""
    if "operation" in fields:
        return gen_ai.kind_of(raw, fields)
    if "tool_name" in fields or raw.name.startswith("running tool:"):
        return SpanKind.TOOL
    if "agent_run" in fields or raw.name == "agent run" or raw.name.endswith(" run"):
        return SpanKind.AGENT
    if raw.name.startswith("running ") and raw.name.endswith((" tools", " tool")):
        return SpanKind.STEP
    return None


ALIASES = extend(
    gen_ai.ALIASES,
    {"agent_run": ("model_name", "agent_name", "pydantic_ai.all_messages", "all_messages_events")},
    agent_name=("agent_name",),
    tool_arguments=("tool_arguments",),
    tool_result=("tool_response",),
    reasoning=("gen_ai.usage.details.thoughts_tokens",),
    cost_usd=("operation.cost",),
)

DIALECT = Dialect(
    name="pydantic-ai",
    reads="pydantic-ai up to 2.68, all span versions: calls, agent runs (their sums are check values), tools by "
    "their older names, `gen_ai.usage.details.*`, `operation.cost`",
    aliases=ALIASES,
    kind=kind_of,
    scopes=("pydantic-ai*", "pydantic_ai*"),
    markers=("model_request_parameters", "pydantic_ai.all_messages", "gen_ai.aggregated_usage.*"),
    content=(
        *gen_ai.CONTENT,
        "pydantic_ai.all_messages",
        "all_messages_events",
        "events",
        "final_result",
        "tool_arguments",
        "tool_response",
        "model_request_parameters",
        "logfire.msg*",
        "logfire.json_schema",
    ),
)
