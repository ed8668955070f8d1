"""Microsoft's Agent Framework: ``gen_ai.*`` operations inside workflow spans of its own."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_STEPS = ("executor.process", "edge_group.process", "message.send")


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return the operation, else what the span's name says."""
    if "operation" in fields:
        return gen_ai.kind_of(raw, fields)
    if raw.name.startswith("workflow.run"):
        return SpanKind.WORKFLOW
    if raw.name.startswith(_STEPS):
        return SpanKind.STEP
    return gen_ai.kind_of(raw, fields)


DIALECT = Dialect(
    name="agent-framework",
    reads="agent-framework-core up to 1.23: calls, agents (their usage is a check value: it may be the last call's "
    "alone), tools, workflows and executors",
    aliases=extend(gen_ai.ALIASES, workflow_name=("workflow.name", "workflow.id")),
    kind=kind_of,
    scopes=("agent_framework*",),
    markers=("workflow.id", "executor.id"),
    content=(*gen_ai.CONTENT, "workflow.definition", "message.*"),
)
