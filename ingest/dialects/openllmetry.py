"""OpenLLMetry (Traceloop): ``traceloop.*`` around older ``gen_ai.*``, one event per streamed chunk."""

from __future__ import annotations

from itertools import pairwise

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_KINDS: dict[str, SpanKind] = {
    "workflow": SpanKind.WORKFLOW,
    "task": SpanKind.STEP,
    "agent": SpanKind.AGENT,
    "tool": SpanKind.TOOL,
}
_CHUNK = "gen_ai.content.completion.chunk"
_LIBRARIES = (
    *("openai", "anthropic", "cohere", "bedrock", "groq", "mistralai", "ollama", "together", "replicate", "vertexai"),
    *("google_generativeai", "watsonx", "sagemaker", "alephalpha", "transformers", "langchain", "llamaindex"),
    *("haystack", "crewai", "openai_agents", "agno", "writer", "voyageai"),
)
_SCOPES = tuple(
    f"opentelemetry.instrumentation.{library}{end}" for library in _LIBRARIES for end in ("", ".*")
)  # without an end of "_v2", which is OpenTelemetry's own


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what ``traceloop.span.kind`` says, else what the operation or request type says."""
    kind = fields.get("kind")
    if isinstance(kind, str) and kind.lower() in _KINDS:
        return _KINDS[kind.lower()]
    return gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Read the time to first token and between tokens from the chunk events, tags from associations."""
    times = sorted(event.time_ns for event in raw.events if event.name == _CHUNK and event.time_ns is not None)
    if times and raw.start_ns is not None:
        fields.setdefault("ttft_ns", times[0] - raw.start_ns)
        fields.setdefault("stream", True)
        gaps = sorted(after - before for before, after in pairwise(times))
        if gaps:
            fields.setdefault("inter_token_p50_ns", gaps[len(gaps) // 2])
            fields.setdefault("inter_token_p95_ns", gaps[min(len(gaps) - 1, len(gaps) * 95 // 100)])
    kind = fields.get("kind")
    if kind == "agent" and "entity_name" in fields:
        fields.setdefault("agent_name", fields["entity_name"])
    elif kind == "tool" and "entity_name" in fields:
        fields.setdefault("tool_name", fields["entity_name"])


ALIASES = extend(
    gen_ai.ALIASES,
    {
        "kind": ("traceloop.span.kind",),
        "entity_name": ("traceloop.entity.name",),
        "session_id": ("gen_ai.conversation.id", "traceloop.association.properties.session_id"),
        "user_id": ("traceloop.association.properties.user_id",),
        "tool_arguments": ("gen_ai.tool.call.arguments", "traceloop.entity.input"),
        "tool_result": ("gen_ai.tool.call.result", "traceloop.entity.output"),
    },
    workflow_name=("traceloop.workflow.name",),
    finish_reason=("llm.response.finish_reason", "llm.response.stop_reason", "gen_ai.completion.0.finish_reason"),
    input=("llm.usage.prompt_tokens",),
    output=("llm.usage.completion_tokens",),
    cache_read=("llm.usage.cache_read_input_tokens",),
    cache_write=("llm.usage.cache_creation_input_tokens",),
    request_model=("llm.request.model",),
    response_model=("llm.response.model",),
    provider=("llm.vendor",),
    response_id=("llm.response.id",),
)

DIALECT = Dialect(
    name="openllmetry",
    reads="OpenLLMetry, up to semconv-ai 0.5.1: span kinds, request types, usage in all spellings, chunk events, "
    "association properties as tags",
    aliases=ALIASES,
    kind=kind_of,
    scopes=(*_SCOPES, "traceloop.*"),
    markers=("traceloop.*", "llm.request.type"),
    content=(
        *gen_ai.CONTENT,
        "traceloop.entity.input",
        "traceloop.entity.output",
        "traceloop.prompt.*",
        "llm.prompts*",
        "llm.completions*",
        "llm.request.functions*",
        "llm.headers",
        "llm.user",
    ),
    refine=refine,
    tag_prefixes=("traceloop.association.properties.",),
)
