"""Vercel AI SDK: the older ``ai.*`` spans (also of opencode) and the ``gen_ai.*`` spans of version 7."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.dialects.embedded import copy_counts, load_object
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind, UsageSemantics

_OPERATIONS: dict[str, SpanKind | Operation] = {
    "ai.generatetext": SpanKind.AGENT,
    "ai.streamtext": SpanKind.AGENT,
    "ai.generateobject": SpanKind.AGENT,
    "ai.streamobject": SpanKind.AGENT,
    "ai.generatetext.dogenerate": Operation.CHAT,
    "ai.streamtext.dostream": Operation.CHAT,
    "ai.generateobject.dogenerate": Operation.CHAT,
    "ai.streamobject.dostream": Operation.CHAT,
    "ai.embed": SpanKind.STEP,
    "ai.embedmany": SpanKind.STEP,
    "ai.embed.doembed": Operation.EMBEDDING,
    "ai.embedmany.doembed": Operation.EMBEDDING,
    "ai.rerank": SpanKind.STEP,
    "ai.rerank.dorerank": Operation.RERANK,
    "ai.toolcall": SpanKind.TOOL,
}
_ANTHROPIC = {"cache_read_input_tokens": "cache_read", "cache_creation_input_tokens": "cache_write"}
_LIFETIMES = {"ephemeral_5m_input_tokens": "cache_write_5m", "ephemeral_1h_input_tokens": "cache_write_1h"}
_BEDROCK = {"cacheReadInputTokens": "cache_read", "cacheWriteInputTokens": "cache_write"}


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what ``ai.operationId`` says: the outer spans sum up their inner ``do...`` spans, which are the calls."""
    operation = fields.get("ai_operation")
    if isinstance(operation, str):
        known = _OPERATIONS.get(operation.partition(" ")[0].lower())
        if known is not None:
            return known
    return gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Read cached tokens, response id and tier from the provider's metadata."""
    if fields.get("ai_operation") == "ai.toolCall" or raw.name.startswith("ai.embed"):
        return
    fields.setdefault("stream", "dostream" in str(fields.get("ai_operation", "")).lower() or None)
    if fields["stream"] is None:
        del fields["stream"]
    metadata = load_object(raw.attributes.get("ai.response.providerMetadata"))
    if not metadata:
        return
    usage = load_object(load_object(metadata.get("anthropic")).get("usage"))
    copy_counts(usage, _ANTHROPIC, fields)
    copy_counts(load_object(usage.get("cache_creation")), _LIFETIMES, fields)
    if usage.get("input_tokens") is not None and usage["input_tokens"] == _whole(fields.get("input")):
        fields["semantics"] = UsageSemantics.EXCLUSIVE  # Anthropic's own count, which leaves cached tokens out
    bedrock = load_object(load_object(metadata.get("bedrock")).get("usage"))
    if bedrock:
        copy_counts(bedrock, _BEDROCK, fields)
        fields.setdefault("semantics", UsageSemantics.EXCLUSIVE)
    openai = load_object(metadata.get("openai"))
    copy_counts(
        openai,
        {
            "cachedPromptTokens": "cache_read",
            "reasoningTokens": "reasoning",
            "responseId": "response_id",
            "serviceTier": "service_tier",
        },
        fields,
    )


def _whole(value: object) -> int | None:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError):
        return None


ALIASES = extend(
    gen_ai.ALIASES,
    {
        "ai_operation": ("ai.operationId",),
        "provider": ("ai.model.provider",),
        "request_model": ("ai.model.id",),
        "response_model": ("ai.response.model",),
        "response_id": ("gen_ai.response.id", "ai.response.id"),
        "input": ("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
        "output": ("ai.usage.outputTokens", "ai.usage.completionTokens"),
        "total": ("ai.usage.totalTokens",),
        "cache_read": ("ai.usage.inputTokenDetails.cacheReadTokens", "ai.usage.cachedInputTokens"),
        "cache_write": ("ai.usage.inputTokenDetails.cacheWriteTokens",),
        "reasoning": ("ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens"),
        "finish_reason": ("ai.response.finishReason",),
        "ttft_ms": ("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk"),
        "agent_name": ("ai.telemetry.functionId",),
        "tool_name": ("ai.toolCall.name",),
        "tool_call_id": ("ai.toolCall.id",),
        "tool_arguments": ("ai.toolCall.args",),
        "tool_result": ("ai.toolCall.result",),
        "session_id": ("session.id", "ai.telemetry.metadata.sessionId"),
        "user_id": ("user.id", "ai.telemetry.metadata.userId"),
        "prompt_messages": ("ai.prompt.messages",),
    },
)

DIALECT = Dialect(
    name="ai-sdk",
    reads="Vercel AI SDK before 7 (`ai.*`, also opencode's) and 7 (`@ai-sdk/otel`, `gen_ai.*`): inner calls, usage "
    "with details, provider metadata for cached tokens and tier, first chunk, tool calls, telemetry metadata as tags",
    aliases=ALIASES,
    kind=kind_of,
    scopes=("ai", "opencode", "@ai-sdk/*"),
    markers=("ai.operationId",),
    content=(
        *gen_ai.CONTENT,
        "ai.prompt*",
        "ai.response.text",
        "ai.response.object",
        "ai.response.toolCalls",
        "ai.response.reasoning*",
        "ai.response.providerMetadata",
        "ai.response.files",
        "ai.result.*",
        "ai.toolCall.args",
        "ai.toolCall.result",
        "ai.value*",
        "ai.embedding*",
        "ai.schema*",
        "ai.request.headers.*",
        "ai.request.body",
    ),
    refine=refine,
    tag_prefixes=("ai.telemetry.metadata.",),
)
