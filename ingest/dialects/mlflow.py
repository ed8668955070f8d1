"""MLflow: every attribute a JSON text, ``mlflow.spanType``, ``mlflow.chat.tokenUsage``."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.dialects.embedded import copy_counts, load_object, load_text
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_KINDS: dict[str, SpanKind | Operation] = {
    "LLM": Operation.CHAT,
    "CHAT_MODEL": Operation.CHAT,
    "EMBEDDING": Operation.EMBEDDING,
    "RERANKER": Operation.RERANK,
    "RETRIEVER": SpanKind.RETRIEVAL,
    "TOOL": SpanKind.TOOL,
    "AGENT": SpanKind.AGENT,
    "CHAIN": SpanKind.WORKFLOW,
    "WORKFLOW": SpanKind.WORKFLOW,
    "TASK": SpanKind.STEP,
    "PARSER": SpanKind.OTHER,
    "GUARDRAIL": SpanKind.STEP,
    "EVALUATOR": SpanKind.STEP,
}
_USAGE = {
    "input_tokens": "input",
    "output_tokens": "output",
    "total_tokens": "total",
    "cache_read_input_tokens": "cache_read",
    "cache_creation_input_tokens": "cache_write",
    "cache_creation_input_tokens_above_1hr": "cache_write_1h",
    "reasoning_tokens": "reasoning",
}


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what ``mlflow.spanType`` says."""
    kind = load_text(fields.get("kind"))
    return _KINDS.get(kind.upper()) if isinstance(kind, str) else gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Take the quotes off names; read usage and cost out of their JSON."""
    for name in ("request_model", "provider", "session_id", "user_id"):
        if name in fields:
            fields[name] = load_text(fields[name])
    usage = load_object(fields.get("token_usage"))
    if usage:
        copy_counts(usage, _USAGE, fields)
    cost = load_object(fields.get("cost")).get("total_cost")
    if cost is not None:
        fields.setdefault("cost_usd", cost)


ALIASES = extend(
    gen_ai.ALIASES,
    {
        "kind": ("mlflow.spanType",),
        "request_model": ("mlflow.llm.model",),
        "provider": ("mlflow.llm.provider",),
        "token_usage": ("mlflow.chat.tokenUsage",),
        "cost": ("mlflow.llm.cost",),
        "session_id": ("session.id", "mlflow.trace.session"),
        "user_id": ("user.id", "mlflow.trace.user"),
        "tool_arguments": ("mlflow.spanInputs",),
    },
)

DIALECT = Dialect(
    name="mlflow",
    reads="MLflow traces (`tracing/constant.py`, 2026-11): span types, `mlflow.chat.tokenUsage` with cache "
    "counts, `mlflow.llm.cost`, session, user",
    aliases=ALIASES,
    kind=kind_of,
    scopes=("mlflow*",),
    markers=("mlflow.spanType", "mlflow.chat.tokenUsage"),
    content=(*gen_ai.CONTENT, "mlflow.spanInputs", "mlflow.spanOutputs", "mlflow.chat.messages", "mlflow.chat.tools"),
    refine=refine,
)
