"""LangSmith's OpenTelemetry export: ``langsmith.*`` beside ``gen_ai.*``, details of usage as JSON."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.dialects.embedded import copy_counts, load_object
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_KINDS: dict[str, SpanKind | Operation] = {
    "llm": Operation.CHAT,
    "embedding": Operation.EMBEDDING,
    "chain": SpanKind.WORKFLOW,
    "tool": SpanKind.TOOL,
    "retriever": SpanKind.RETRIEVAL,
    "prompt": SpanKind.OTHER,
    "parser": SpanKind.OTHER,
}
_INPUT = {
    "cache_read": "cache_read",
    "cache_creation": "cache_write",
    "ephemeral_5m_input_tokens": "cache_write_5m",
    "ephemeral_1h_input_tokens": "cache_write_1h",
    "audio": "input_audio",
}
_OUTPUT = {"reasoning": "reasoning", "audio": "output_audio"}


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what ``langsmith.span.kind`` says."""
    kind = fields.get("kind")
    known = _KINDS.get(kind.lower()) if isinstance(kind, str) else None
    return known or gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Read cached and reasoning tokens out of their JSON."""
    copy_counts(load_object(fields.get("input_details")), _INPUT, fields)
    copy_counts(load_object(fields.get("output_details")), _OUTPUT, fields)


ALIASES = extend(
    gen_ai.ALIASES,
    {
        "kind": ("langsmith.span.kind",),
        "input_details": ("gen_ai.usage.input_token_details",),
        "output_details": ("gen_ai.usage.output_token_details",),
        "session_id": ("langsmith.metadata.session_id", "langsmith.metadata.thread_id", "gen_ai.conversation.id"),
        "user_id": ("langsmith.metadata.user_id", "user.id"),
        "stream": ("langsmith.request.streaming",),
    },
    response_model=("langsmith.metadata.ls_model_name",),
    provider=("langsmith.metadata.ls_provider",),
)

DIALECT = Dialect(
    name="langsmith",
    reads="LangSmith's OTel exporter (2026-11): span kinds, usage with details, metadata; its session name "
    "is a project and no conversation",
    aliases=ALIASES,
    kind=kind_of,
    scopes=("langsmith*",),
    markers=("langsmith.span.kind",),
    content=(*gen_ai.CONTENT, "langsmith.metadata.*", "gen_ai.serialized*", "inputs*", "outputs*"),
    refine=refine,
)
