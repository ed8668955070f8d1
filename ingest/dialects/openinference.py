"""OpenInference: ``openinference.span.kind``, ``llm.*``, ``tool.*``, one attribute per message part."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_KINDS: dict[str, SpanKind | Operation] = {
    "LLM": Operation.CHAT,
    "EMBEDDING": Operation.EMBEDDING,
    "RERANKER": Operation.RERANK,
    "CHAIN": SpanKind.WORKFLOW,
    "RETRIEVER": SpanKind.RETRIEVAL,
    "TOOL": SpanKind.TOOL,
    "AGENT": SpanKind.AGENT,
    "GUARDRAIL": SpanKind.STEP,
    "EVALUATOR": SpanKind.STEP,
    "PROMPT": SpanKind.OTHER,
    "DECISION": SpanKind.STEP,
}

_RUN = ".run"  # smolagents names an agent's span "clerk.run", LlamaIndex "FunctionAgent.run"
_CALL = ".__call__"  # DSPy names a tool's span "look.__call__"
_LLAMA_INDEX = "openinference.instrumentation.llama_index"

FIRST_TOKEN_EVENT = "First Token Stream Event"


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return what ``openinference.span.kind`` says; UNKNOWN stays a plain span.

    LlamaIndex has each method of a model class written as a call of the model, and its agents as chains.
    """
    kind = fields.get("kind")
    if raw.scope == _LLAMA_INDEX:
        owner, _, method = raw.name.rpartition(".")
        if method.startswith("_"):
            # what its model classes do on the way to a call, such as `OpenAI._prepare_chat_with_tools`
            return SpanKind.OTHER
        if method == "run" and owner.endswith(("Agent", "AgentWorkflow")):
            return SpanKind.AGENT
    return _KINDS.get(kind.upper()) if isinstance(kind, str) else gen_ai.kind_of(raw, fields)


def refine(raw: RawSpan, fields: Fields) -> None:
    """Read agents' and tools' names from their spans' where no attribute has them, the first token from its event."""
    if "agent_name" not in fields and raw.name.endswith(_RUN) and kind_of(raw, fields) is SpanKind.AGENT:
        fields["agent_name"] = raw.name.removesuffix(_RUN)
    if fields.get("kind") == "TOOL" and "tool_name" not in fields and raw.name.endswith(_CALL):
        fields["tool_name"] = raw.name.removesuffix(_CALL)
    if "ttft_s" in fields or raw.start_ns is None:
        return
    for event in raw.events:
        if event.name == FIRST_TOKEN_EVENT and event.time_ns is not None:
            fields["ttft_ns"] = event.time_ns - raw.start_ns
            fields.setdefault("stream", True)
            return


ALIASES = extend(
    gen_ai.ALIASES,
    {
        "kind": ("openinference.span.kind",),
        "provider": ("llm.provider", "llm.system"),
        "request_model": ("llm.request.model_name", "embedding.model_name", "reranker.model_name"),
        "response_model": ("llm.response.model_name", "llm.model_name"),
        "input": ("llm.token_count.prompt",),
        "output": ("llm.token_count.completion",),
        "total": ("llm.token_count.total",),
        "cache_read": ("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"),
        "cache_write": ("llm.token_count.prompt_details.cache_write",),
        "input_audio": ("llm.token_count.prompt_details.audio",),
        "reasoning": ("llm.token_count.completion_details.reasoning",),
        "output_audio": ("llm.token_count.completion_details.audio",),
        "cost_usd": ("llm.cost.total",),
        "finish_reason": ("llm.finish_reason",),
        "agent_name": ("agent.name", "graph.node.name", "graph.node.id"),
        "tool_name": ("tool.name",),
        "tool_call_id": ("tool.id", "tool_call.id"),
        "tool_arguments": ("tool.parameters",),
        "session_id": ("session.id",),
        "value_input": ("input.value",),
        "value_output": ("output.value",),
        "tag_list": ("tag.tags",),
    },
)

CONTENT = (
    *gen_ai.CONTENT,
    "input.*",
    "output.*",
    "llm.input_messages.*",
    "llm.output_messages.*",
    "llm.prompts*",
    "llm.choices.*",
    "llm.invocation_parameters",
    "llm.tools.*",
    "llm.function_call",
    "llm.prompt_template.*",
    "tool.parameters",
    "tool.description",
    "tool.json_schema",
    "tool_call.function.arguments",
    "embedding.embeddings.*",
    "embedding.text",
    "embedding.vector",
    "retrieval.documents.*",
    "reranker.*",
    "document.*",
    "message.*",
    "metadata",
    "exception.*",
)

DIALECT = Dialect(
    name="openinference",
    reads="OpenInference 0.1.x: span kinds, `llm.token_count.*` with cache, reasoning and audio details, "
    "`llm.cost.total`, model and provider names, tools, agents, session and user, the first token event",
    aliases=ALIASES,
    kind=kind_of,
    scopes=("openinference.*",),
    markers=("openinference.span.kind",),
    content=CONTENT,
    refine=refine,
)
