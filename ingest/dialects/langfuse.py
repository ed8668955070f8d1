"""Langfuse's SDK: ``langfuse.observation.*``, usage and cost as JSON, cached tokens beside the input."""

from __future__ import annotations

from typing import Any

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.dialects.embedded import copy_counts, load_object, load_text
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind, UsageSemantics

KINDS: dict[str, SpanKind | Operation] = {
    "generation": Operation.CHAT,
    "embedding": Operation.EMBEDDING,
    "agent": SpanKind.AGENT,
    "tool": SpanKind.TOOL,
    "chain": SpanKind.WORKFLOW,
    "retriever": SpanKind.RETRIEVAL,
    "guardrail": SpanKind.STEP,
    "evaluator": SpanKind.STEP,
}

_GRAPHS = frozenset({"LangGraph", "AgentExecutor", "RunnableSequence"})
"""Names that LangChain's callback gives to the span around a whole graph, whose type is only `span`."""

_USAGE = {
    "input": "input",
    "prompt_tokens": "input",
    "output": "output",
    "completion_tokens": "output",
    "total": "total",
    "total_tokens": "total",
    "input_cached_tokens": "cache_read",
    "input_cache_read": "cache_read",
    "cache_read_input_tokens": "cache_read",
    "prompt_details.cache_read": "cache_read",
    "input_cache_creation": "cache_write",
    "cache_creation_input_tokens": "cache_write",
    "prompt_details.cache_write": "cache_write",
    "input_cache_creation_5m": "cache_write_5m",
    "input_cache_creation_1h": "cache_write_1h",
    "output_reasoning_tokens": "reasoning",
    "output_reasoning": "reasoning",
    "completion_details.reasoning": "reasoning",
    "input_audio": "input_audio",
    "input_audio_tokens": "input_audio",
    "output_audio": "output_audio",
    "output_audio_tokens": "output_audio",
}
_INCLUSIVE = ("prompt_details.", "completion_details.")


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what ``langfuse.observation.type`` says."""
    kind = fields.get("kind")
    if not isinstance(kind, str):
        return gen_ai.kind_of(raw, fields)
    return KINDS.get(kind.lower()) or (SpanKind.WORKFLOW if raw.name in _GRAPHS else None)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Read usage, cost and the time of the first token out of their JSON."""
    usage = load_object(fields.get("usage_details"))
    if usage and "input" not in fields and "output" not in fields:
        read_usage(usage, fields)
    if "cost_usd" not in fields:
        cost = load_object(fields.get("cost_details"))
        if cost.get("total") is not None:
            fields["cost_usd"] = cost["total"]
    begun = load_text(load_text(fields.get("completion_start_time")))
    if isinstance(begun, str) and raw.start_ns is not None and "ttft_ns" not in fields:
        from inferometer.ingest.values import iso_ns

        first_ns = iso_ns(begun)
        if first_ns is not None:
            fields["ttft_ns"] = first_ns - raw.start_ns


def read_usage(usage: dict[str, Any], fields: Fields) -> None:
    """Read a ``usageDetails`` object: each key a kind of token of its own, unless its keys name details of another."""
    if not any(usage.values()):
        return
    copy_counts(usage, _USAGE, fields)
    inclusive = any(key.startswith(_INCLUSIVE) for key in usage)
    fields["semantics"] = UsageSemantics.INCLUSIVE if inclusive else UsageSemantics.EXCLUSIVE
    reasoning = fields.get("reasoning")
    if not inclusive and isinstance(reasoning, (int, float)) and reasoning > 0:
        fields["reasoning_beside"] = True


ALIASES = extend(
    gen_ai.ALIASES,
    {
        "kind": ("langfuse.observation.type", "langfuse.span.type"),
        "response_model": ("langfuse.observation.model.name", "langfuse.observation.model"),
        "usage_details": ("langfuse.observation.usage_details", "langfuse.observation.usage"),
        "cost_details": ("langfuse.observation.cost_details",),
        "completion_start_time": ("langfuse.observation.completion_start_time",),
        "session_id": ("session.id", "langfuse.session.id"),
        "user_id": ("user.id", "langfuse.user.id"),
        "tag_list": ("langfuse.trace.tags",),
        "value_input": ("langfuse.observation.input",),
        "value_output": ("langfuse.observation.output",),
    },
)

DIALECT = Dialect(
    name="langfuse",
    reads="Langfuse SDK (4.0 seen): observation types, `usage_details` (cached and reasoning tokens beside input and "
    "output unless the total says otherwise), `cost_details`, completion start time, session, user, tags",
    aliases=ALIASES,
    kind=kind_of,
    scopes=("langfuse-sdk*",),
    markers=("langfuse.observation.type", "langfuse.span.type"),
    content=(
        *gen_ai.CONTENT,
        "langfuse.observation.input",
        "langfuse.observation.output",
        "langfuse.observation.status_message",
        "langfuse.observation.metadata*",
        "langfuse.observation.model.parameters",
        "langfuse.trace.input",
        "langfuse.trace.output",
        "langfuse.trace.name",
        "langfuse.trace.metadata*",
    ),
    semantics=UsageSemantics.EXCLUSIVE,
    refine=refine,
    wraps=True,
)
