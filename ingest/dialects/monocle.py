"""Monocle: ``span.type`` and numbered entities; usage sits in an event named ``metadata``."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.dialects.embedded import copy_counts
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_KINDS: dict[str, SpanKind | Operation] = {
    "workflow": SpanKind.WORKFLOW,
    "agentic.request": SpanKind.WORKFLOW,
    "agentic.turn": SpanKind.WORKFLOW,
    "agentic.invocation": SpanKind.AGENT,
    "agentic.delegation": SpanKind.STEP,
    "agentic.tool.invocation": SpanKind.TOOL,
    "agentic.mcp.invocation": SpanKind.TOOL,
    "inference": Operation.CHAT,
    "inference.framework": Operation.CHAT,
    "inference.modelapi": Operation.CHAT,
    "embedding": Operation.EMBEDDING,
    "embedding.modelapi": Operation.EMBEDDING,
    "retrieval": SpanKind.RETRIEVAL,
    "retrieval.embedding": SpanKind.RETRIEVAL,
}
_USAGE = {
    "prompt_tokens": "input",
    "input_tokens": "input",
    "completion_tokens": "output",
    "output_tokens": "output",
    "total_tokens": "total",
    "cached_tokens": "cache_read",
    "cache_read_input_tokens": "cache_read",
    "cache_creation_input_tokens": "cache_write",
    "reasoning_tokens": "reasoning",
    "finish_reason": "finish_reason",
}
_ENTITIES = range(1, 9)


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what ``span.type`` says."""
    kind = fields.get("kind")
    return _KINDS.get(kind) if isinstance(kind, str) else None


def refine(raw: RawSpan, fields: Fields) -> None:
    """Read names from the entities by their types, usage from the metadata event."""
    for event in raw.events:
        if event.name == "metadata":
            copy_counts(event.attributes, _USAGE, fields)
    get = raw.attributes.get
    for number in _ENTITIES:
        kind, name = get(f"entity.{number}.type"), get(f"entity.{number}.name")
        if not isinstance(kind, str):
            continue
        if kind.startswith("model.") and name:
            fields.setdefault("request_model", name)
        elif kind.startswith("inference."):
            fields.setdefault("provider", kind.removeprefix("inference."))
        elif kind.startswith("tool.") and name:
            fields.setdefault("tool_name", name)
            fields.setdefault("tool_kind", kind.removeprefix("tool."))
        elif kind == "mcp.server" and name:
            fields.setdefault("tool_name", name)
        elif kind.startswith("agent.") and name:
            fields.setdefault("agent_name", name)


DIALECT = Dialect(
    name="monocle",
    reads="Monocle (0.5.3 seen): workflows, turns, agent invocations, tools, calls seen by framework, client and model "
    "API, usage from events",
    aliases=extend(
        gen_ai.ALIASES,
        {"kind": ("span.type",), "session_id": ("scope.agentic.session", "session.id")},
        workflow_name=("workflow.name",),
    ),
    kind=kind_of,
    scopes=("monocle*",),
    markers=("monocle_apptrace.version", "monocle_apptrace.language"),
    content=(*gen_ai.CONTENT, "span_source", "entity.*.description", "input", "output"),
    refine=refine,
)
