"""OpenTelemetry's GenAI convention, newest and older spellings, and what Inferometer itself emits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from inferometer.ingest.dialects.dialect import Dialect, Fields
from inferometer.ingest.raw import RawSpan
from inferometer.schema import attributes as ours
from inferometer.schema.records import Operation, SpanKind

Kind = TypeVar("Kind", bound=SpanKind | Operation)

OPERATIONS: dict[str, SpanKind | Operation] = {
    "chat": Operation.CHAT,
    "generate_content": Operation.CHAT,
    "text_completion": Operation.COMPLETION,
    "completion": Operation.COMPLETION,
    "embeddings": Operation.EMBEDDING,
    "embedding": Operation.EMBEDDING,
    "rerank": Operation.RERANK,
    "retrieval": SpanKind.RETRIEVAL,
    "invoke_agent": SpanKind.AGENT,
    "invocation": SpanKind.AGENT,
    "handle_conversation_turn": SpanKind.AGENT,
    "invoke_workflow": SpanKind.WORKFLOW,
    "plan": SpanKind.STEP,
    "execute_tool": SpanKind.TOOL,
}
"""``gen_ai.operation.name`` to what a span is; unknown operations stay as plain spans."""

ALIASES: dict[str, tuple[str, ...]] = {
    "own_kind": (ours.KIND,),
    "operation": ("gen_ai.operation.name",),
    "request_type": ("llm.request.type",),
    "provider": ("gen_ai.provider.name", "gen_ai.system"),
    "request_model": ("gen_ai.request.model",),
    "response_model": ("gen_ai.response.model",),
    "response_id": ("gen_ai.response.id",),
    "input": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "total": ("gen_ai.usage.total_tokens", "llm.usage.total_tokens"),
    "cache_read": (
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.input_tokens.cached",
        "gen_ai.usage.cached_input_tokens",
        "gen_ai.usage.prompt_tokens_details.cached_tokens",
        "gen_ai.usage.prompt_tokens_details.cache_read",
        "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cache_read_input_tokens",
    ),
    "cache_write": (
        "gen_ai.usage.cache_write.input_tokens",
        "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.cache_write_input_tokens",
        "gen_ai.usage.input_tokens.cache_write",
        "gen_ai.usage.prompt_tokens_details.cache_write",
        "gen_ai.usage.details.cache_write_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
    ),
    "cache_write_5m": (ours.USAGE_CACHE_WRITE_5M,),
    "cache_write_1h": (ours.USAGE_CACHE_WRITE_1H,),
    "reasoning": (
        "gen_ai.usage.reasoning.output_tokens",
        "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.output_tokens.reasoning",
        "gen_ai.usage.completion_tokens_details.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens",
    ),
    "input_text": (ours.USAGE_TEXT_INPUT,),
    "input_audio": (ours.USAGE_AUDIO_INPUT, "gen_ai.usage.details.input_audio_tokens"),
    "input_image": (ours.USAGE_IMAGE_INPUT,),
    "cache_read_audio": (ours.USAGE_AUDIO_CACHE_READ, "gen_ai.usage.details.cache_audio_read_tokens"),
    "output_text": (ours.USAGE_TEXT_OUTPUT,),
    "output_audio": (ours.USAGE_AUDIO_OUTPUT, "gen_ai.usage.details.output_audio_tokens"),
    "output_image": (ours.USAGE_IMAGE_OUTPUT,),
    "usage_source": (ours.USAGE_SOURCE,),
    "raw_usage": (ours.USAGE_RAW,),
    "charge_skus": (ours.CHARGE_SKUS,),
    "charge_quantities": (ours.CHARGE_QUANTITIES,),
    "charge_units": (ours.CHARGE_UNITS,),
    "cost_usd": (ours.RECORDED_COST_USD, "operation.cost", "gen_ai.usage.cost", "gen_ai.cost.total_cost"),
    "finish_reason": ("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason"),
    "stream": ("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming", "gen_ai.request.is_stream"),
    "ttft_ns": (ours.TTFT_NS,),
    "ttft_s": ("gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk"),
    "inter_token_p50_ns": (ours.INTER_TOKEN_P50_NS,),
    "inter_token_p95_ns": (ours.INTER_TOKEN_P95_NS,),
    "service_tier": (
        ours.SERVICE_TIER,
        "openai.response.service_tier",
        "gen_ai.openai.response.service_tier",
        "anthropic.response.service_tier",
        "openai.request.service_tier",
        "gen_ai.openai.request.service_tier",
    ),
    "batch": (ours.BATCH,),
    "aborted": (ours.ABORTED,),
    "attempt_statuses": (ours.ATTEMPT_STATUSES,),
    "attempt_starts_ns": (ours.ATTEMPT_STARTS_NS,),
    "attempt_ends_ns": (ours.ATTEMPT_ENDS_NS,),
    "resends": ("http.request.resend_count",),
    "agent_name": ("gen_ai.agent.name", "agent.name"),
    "workflow_name": ("gen_ai.workflow.name",),
    "session_id": ("gen_ai.conversation.id", "session.id"),
    "user_id": ("user.id", "enduser.id", "gen_ai.user", "gen_ai.request.user"),
    "user_hash": (ours.USER_HASH,),
    "error_type": ("error.type",),
    "tool_name": ("gen_ai.tool.name",),
    "tool_kind": ("gen_ai.tool.type",),
    "tool_call_id": ("gen_ai.tool.call.id", "gen_ai.tool.call_id"),
    "tool_arguments": ("gen_ai.tool.call.arguments",),
    "tool_result": ("gen_ai.tool.call.result",),
    "argument_fingerprint": (ours.ARGUMENT_FINGERPRINT,),
    "result_tokens": (ours.RESULT_TOKENS,),
    "mcp_method": ("mcp.method.name",),
    "input_messages": ("gen_ai.input.messages",),
    "output_messages": ("gen_ai.output.messages",),
    "system": ("gen_ai.system_instructions",),
    "tool_definitions": ("gen_ai.tool.definitions",),
    "composition_system": (ours.COMPOSITION_SYSTEM,),
    "composition_tools": (ours.COMPOSITION_TOOLS,),
    "composition_history": (ours.COMPOSITION_HISTORY,),
    "composition_tool_results": (ours.COMPOSITION_TOOL_RESULTS,),
    "composition_user": (ours.COMPOSITION_USER,),
    "tools_offered": (ours.TOOLS_OFFERED,),
    "tools_offered_tokens": (ours.TOOLS_OFFERED_TOKENS,),
    "prefix_base": (ours.PREFIX_BASE,),
    "prefix_shared": (ours.PREFIX_SHARED,),
    "prefix_hashes": (ours.PREFIX_HASHES,),
    "prefix_block_tokens": (ours.PREFIX_BLOCK_TOKENS,),
    "prefix_vocabulary": (ours.PREFIX_VOCABULARY,),
    "key_id": (ours.KEY_ID,),
    "purpose": (ours.PURPOSE,),
    "weight": (ours.SAMPLING_WEIGHT,),
}

CONTENT: tuple[str, ...] = (
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.description",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.tool.message",
    "gen_ai.agent.description",
    "gen_ai.prompt*",
    "gen_ai.completion*",
    "gen_ai.content.*",
    "gen_ai.retrieval.query*",
    "gen_ai.retrieval.documents",
    "gen_ai.evaluation.explanation",
    "gen_ai.request.stop_sequences",
    "inferometer.input",
    "inferometer.output",
)

_REQUEST_TYPES: dict[str, Operation] = {
    "chat": Operation.CHAT,
    "completion": Operation.COMPLETION,
    "embedding": Operation.EMBEDDING,
    "rerank": Operation.RERANK,
}

_OWN_KINDS: dict[str, SpanKind | Operation] = {
    **{kind.value: kind for kind in SpanKind},
    SpanKind.INFERENCE.value: Operation.CHAT,
}


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what a span is by its operation, else by what only one kind carries."""
    own = _lookup(_OWN_KINDS, fields.get("own_kind"))
    operation = fields.get("operation")
    if own is not None and own is not Operation.CHAT:
        return own
    if operation is not None:
        known = _lookup(OPERATIONS, operation)
        return own if known is None else known
    if own is not None:
        return own
    requested = _lookup(_REQUEST_TYPES, fields.get("request_type"))
    if requested is not None:
        return requested
    if "tool_name" in fields:
        return SpanKind.TOOL
    if ("request_model" in fields or "response_model" in fields) and ("input" in fields or "output" in fields):
        return Operation.CHAT
    return None


def _lookup(table: Mapping[str, Kind], value: Any) -> Kind | None:
    return table.get(value.lower()) if isinstance(value, str) else None


DIALECT = Dialect(
    name="gen_ai",
    reads="`gen_ai.*` of semantic-conventions-genai (2026-11) and of semconv 1.27 to 1.41: operation, models, usage "
    "with all spellings of cache and reasoning counts, time to first chunk, tools, agents, conversation; what "
    "Inferometer itself emits under `inferometer.*`",
    aliases=ALIASES,
    kind=kind_of,
    markers=("gen_ai.*",),
    content=CONTENT,
)
