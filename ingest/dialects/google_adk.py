"""Google's Agent Development Kit: spans of schema 1 with the answer as JSON, ``gen_ai.*`` of schema 2."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.dialects.embedded import copy_counts, load_object
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_USAGE = {
    "prompt_token_count": "input",
    "cached_content_token_count": "cache_read",
    "total_token_count": "total",
    "candidates_token_count": "output",
    "thoughts_token_count": "reasoning",
}


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what the span's name says in schema 1, else its operation."""
    name = raw.name
    if name == "call_llm":
        return Operation.CHAT
    if name == "invocation" or name.startswith("invocation ["):
        return SpanKind.WORKFLOW
    if name.startswith("agent_run"):
        return SpanKind.AGENT
    if name.startswith("execute_tool"):
        return SpanKind.TOOL
    return gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Read usage from the answer of schema 1, and the agent's name from the span's."""
    usage = load_object(load_object(raw.attributes.get("gcp.vertex.agent.llm_response")).get("usage_metadata"))
    if usage:
        has_output = "output" in fields
        copy_counts(usage, _USAGE, fields)
        if not has_output and "total" not in fields:
            fields["reasoning_beside"] = True
    if raw.name.startswith("agent_run [") and "agent_name" not in fields:
        fields["agent_name"] = raw.name[len("agent_run [") :].rstrip("]")
    if raw.name.startswith("execute_tool ") and "tool_name" not in fields:
        fields["tool_name"] = raw.name[len("execute_tool ") :]


ALIASES = extend(
    gen_ai.ALIASES,
    session_id=("gcp.vertex.agent.session_id",),
    tool_arguments=("gcp.vertex.agent.tool_call_args",),
    tool_result=("gcp.vertex.agent.tool_response",),
)

DIALECT = Dialect(
    name="google-adk",
    reads="google-adk up to 2.13, telemetry schemas 1 and 2: `call_llm`, `invocation`, `agent_run`, tools; cached and "
    "thought tokens also from inside `gcp.vertex.agent.llm_response`",
    aliases=ALIASES,
    kind=kind_of,
    scopes=("gcp.vertex.agent*", "google.adk*"),
    markers=("gcp.vertex.agent.*",),
    content=(
        *gen_ai.CONTENT,
        "gcp.vertex.agent.llm_request",
        "gcp.vertex.agent.llm_response",
        "gcp.vertex.agent.tool_call_args",
        "gcp.vertex.agent.tool_response",
        "gcp.vertex.agent.data",
    ),
    refine=refine,
)
