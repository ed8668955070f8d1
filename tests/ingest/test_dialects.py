# ruff: noqa: E501 - spans are written as their emitters write them
"""Each dialect on spans as its emitter writes them, and the document that lists them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferometer.ingest.dialects import DIALECTS, dialect_of
from inferometer.ingest.normalise import normalise
from inferometer.ingest.raw import RawEvent, RawSpan
from inferometer.schema.records import Span, SpanKind
from inferometer.testing.raw_spans import START, TRACE, span_id


def read(name: str, attributes: dict[str, Any], scope: str | None = None, **rest: Any) -> tuple[Span, dict[str, int]]:
    raw = RawSpan(
        TRACE, span_id(1), name, start_ns=START, end_ns=START + 10**9, attributes=attributes, scope=scope, **rest
    )
    batch = normalise([raw])
    return batch.spans[0], batch.inferences[0].meters.as_dict() if batch.inferences else {}


METADATA = json.dumps(
    {
        "anthropic": {
            "usage": {
                "input_tokens": 3,
                "cache_read_input_tokens": 100,
                "cache_creation": {"ephemeral_5m_input_tokens": 7, "ephemeral_1h_input_tokens": 5},
            }
        }
    }
)
ADK = json.dumps(
    {
        "usage_metadata": {
            "prompt_token_count": 50,
            "cached_content_token_count": 20,
            "candidates_token_count": 5,
            "thoughts_token_count": 8,
            "total_token_count": 63,
        }
    }
)

CASES: dict[str, tuple[str, str | None, dict[str, Any], dict[str, int]]] = {
    "gen_ai, newest": ("chat m", None, {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.cache_write.input_tokens": 10, "gen_ai.usage.output_tokens": 9, "gen_ai.usage.reasoning.output_tokens": 4,
    }, {"input_fresh": 30, "cache_read": 60, "cache_write_5m": 10, "output": 9, "reasoning": 4}),
    "gen_ai, older spellings": ("chat m", None, {
        "gen_ai.operation.name": "chat", "gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 9,
        "gen_ai.usage.cache_creation_input_tokens": 10, "gen_ai.usage.cache_read_input_tokens": 60,
    }, {"input_fresh": 30, "cache_read": 60, "cache_write_5m": 10, "output": 9}),
    "gen_ai, an emitter that leaves cached tokens out": ("chat m", None, {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 4, "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.output_tokens": 9,
    }, {"input_fresh": 4, "cache_read": 60, "output": 9}),
    "gen_ai, the total decides": ("chat m", None, {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 80, "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.usage.output_tokens": 9, "gen_ai.usage.total_tokens": 149,
    }, {"input_fresh": 80, "cache_read": 60, "output": 9}),
    "openinference": ("ChatCompletion", "openinference.instrumentation.openai", {
        "openinference.span.kind": "LLM", "llm.token_count.prompt": 100, "llm.token_count.completion": 9,
        "llm.token_count.prompt_details.cache_read": 60, "llm.token_count.completion_details.reasoning": 4,
    }, {"input_fresh": 40, "cache_read": 60, "output": 9, "reasoning": 4}),
    "openllmetry": ("openai.chat", "opentelemetry.instrumentation.openai.v1", {
        "llm.request.type": "chat", "gen_ai.usage.prompt_tokens": 12, "gen_ai.usage.completion_tokens": 3, "llm.usage.total_tokens": 15,
    }, {"input_fresh": 12, "output": 3}),
    "ai-sdk with Anthropic's own count": ("ai.streamText.doStream", "ai", {
        "ai.operationId": "ai.streamText.doStream", "ai.usage.inputTokens": 3, "ai.usage.outputTokens": 9,
        "ai.response.providerMetadata": METADATA,
    }, {"input_fresh": 3, "cache_read": 100, "cache_write_5m": 7, "cache_write_1h": 5, "output": 9}),
    "langfuse": ("gen", "langfuse-sdk", {
        "langfuse.observation.type": "generation",
        "langfuse.observation.usage_details": json.dumps({"input": 10, "input_cached_tokens": 90, "output": 5, "output_reasoning_tokens": 2, "total": 107}),
    }, {"input_fresh": 10, "cache_read": 90, "output": 7, "reasoning": 2}),
    "pydantic-ai": ("chat m", "pydantic-ai", {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.details.cache_read_tokens": 40, "gen_ai.usage.details.reasoning_tokens": 2,
    }, {"input_fresh": 60, "cache_read": 40, "output": 9, "reasoning": 2}),
    "mlflow": ("ChatModel", None, {
        "mlflow.spanType": '"CHAT_MODEL"',
        "mlflow.chat.tokenUsage": json.dumps({"input_tokens": 100, "output_tokens": 9, "total_tokens": 109, "cache_read_input_tokens": 40}),
    }, {"input_fresh": 60, "cache_read": 40, "output": 9}),
    "langsmith": ("llm", "langsmith", {
        "langsmith.span.kind": "llm", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.input_token_details": json.dumps({"cache_read": 40, "cache_creation": 5}),
    }, {"input_fresh": 55, "cache_read": 40, "cache_write_5m": 5, "output": 9}),
    "google-adk, schema 1": ("call_llm", "gcp.vertex.agent", {"gcp.vertex.agent.llm_response": ADK},
        {"input_fresh": 30, "cache_read": 20, "output": 13, "reasoning": 8}),
    "strands on Bedrock": ("chat", "strands.telemetry.tracer", {
        "gen_ai.operation.name": "chat", "gen_ai.usage.prompt_tokens": 10, "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5, "gen_ai.usage.completion_tokens": 5, "gen_ai.usage.total_tokens": 115,
        "gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.cache_read_input_tokens": 100,
    }, {"input_fresh": 10, "cache_read": 100, "output": 5}),
    "anthropic-sdk": ("anthropic.messages.create", "com.anthropic.sdk.python", {
        "gen_ai.usage.input_tokens": 110, "gen_ai.usage.cache_read.input_tokens": 100, "gen_ai.usage.output_tokens": 5,
    }, {"input_fresh": 10, "cache_read": 100, "output": 5}),
    "claude-code": ("claude_code.llm_request", "com.anthropic.claude_code.tracing", {
        "model": "claude-opus-4-7", "input_tokens": 3, "output_tokens": 50, "cache_read_tokens": 1000, "cache_creation_tokens": 20,
    }, {"input_fresh": 3, "cache_read": 1000, "cache_write_5m": 20, "output": 50}),
    "codex": ("stream_request", "codex_otel", {
        "input_token_count": 100, "cached_token_count": 40, "output_token_count": 9, "reasoning_token_count": 4,
    }, {"input_fresh": 60, "cache_read": 40, "output": 9, "reasoning": 4}),
    "codex turn": ("session_task.turn", "codex_otel", {
        "codex.turn.token_usage.input_tokens": 100, "codex.turn.token_usage.cached_input_tokens": 40,
        "codex.turn.token_usage.cache_write_input_tokens": 10, "codex.turn.token_usage.output_tokens": 9,
        "codex.turn.token_usage.total_tokens": 109,
    }, {"input_fresh": 50, "cache_read": 40, "cache_write_5m": 10, "output": 9}),
    "gemini-cli, with tools of the provider": ("llm_call", "gemini-cli", {
        "gen_ai.operation.name": "llm_call", "input_token_count": 120, "cached_content_token_count": 10,
        "output_token_count": 30, "thoughts_token_count": 5, "tool_token_count": 7, "total_token_count": 162,
    }, {"input_fresh": 117, "cache_read": 10, "output": 35, "reasoning": 5}),
    "gemini-cli": ("llm_call", "gemini-cli", {
        "gen_ai.operation.name": "llm_call", "gen_ai.usage.input_tokens": 100, "cached_content_token_count": 40,
        "gen_ai.usage.output_tokens": 9, "thoughts_token_count": 4,
    }, {"input_fresh": 60, "cache_read": 40, "output": 13, "reasoning": 4}),
    "engine": ("llm_request", "vllm.llm_engine", {
        "gen_ai.usage.prompt_tokens": 100, "gen_ai.usage.completion_tokens": 9, "gen_ai.latency.time_in_queue": 0.1,
    }, {"input_fresh": 100, "output": 9}),
    "litellm": ("chat m", "litellm", {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 9, "litellm.cost.total": 0.5,
    }, {"input_fresh": 100, "output": 9}),
    "agent-framework": ("chat m", "agent_framework", {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 9,
    }, {"input_fresh": 100, "output": 9}),
    "crewai": ("chat m", "crewai.telemetry", {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 9,
    }, {"input_fresh": 100, "output": 9}),
    "openlit": ("chat m", "openlit.instrumentation.openai", {
        "gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 100, "gen_ai.usage.output_tokens": 9,
        "gen_ai.usage.prompt_tokens_details.cache_read": 40,
    }, {"input_fresh": 60, "cache_read": 40, "output": 9}),
}  # fmt: skip


@pytest.mark.parametrize("case", list(CASES))
def test_meters_are_disjoint_and_complete(case: str) -> None:
    name, scope, attributes, expected = CASES[case]
    span, meters = read(name, attributes, scope)
    assert span.dialect == case.partition(" ")[0].rstrip(",")
    assert span.kind is SpanKind.INFERENCE
    assert meters == expected


def test_monocle_reads_usage_from_its_event() -> None:
    usage = RawEvent("metadata", None, {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12})
    attributes = {
        "monocle_apptrace.version": "0.5.3",
        "span.type": "inference",
        "entity.2.type": "model.llm.gpt-4o",
        "entity.2.name": "gpt-4o",
    }
    span, meters = read("openai", attributes, events=[usage])
    assert (span.dialect, meters) == ("monocle", {"input_fresh": 10, "output": 2})


def test_mcp_calls_a_tool_and_nothing_else() -> None:
    call, _ = read("tools/call add", {"mcp.method.name": "tools/call", "gen_ai.tool.name": "add"})
    listing, _ = read("tools/list", {"mcp.method.name": "tools/list"})
    assert (call.kind, listing.kind) == (SpanKind.TOOL, SpanKind.OTHER)


def test_unknown_operation_stays_a_span() -> None:
    assert read("mystery", {"gen_ai.operation.name": "mystery"})[0].kind is SpanKind.OTHER


def test_all_zero_counts_are_no_usage() -> None:
    _, meters = read(
        "chat", {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0}
    )
    assert meters == {}


@pytest.mark.parametrize("count", [-5, 10**12, 2**70, "many", 1.5, True, float("nan")])
def test_absurd_counts_are_kept_out_and_counted(count: Any) -> None:
    raw = RawSpan(
        TRACE,
        span_id(1),
        "chat",
        attributes={
            "gen_ai.operation.name": "chat",
            "gen_ai.usage.input_tokens": count,
            "gen_ai.usage.output_tokens": 3,
        },
    )
    batch = normalise([raw])
    assert batch.inferences[0].meters.as_dict() == {"output": 3}
    assert batch.warnings["broken_token_count"] == 1
    assert "kept out" in batch.inferences[0].reasons[0]


def test_weight_comes_from_the_trace_state() -> None:
    assert read("chat", {}, trace_state="vendor=x,ot=th:c;rv:abc")[0].weight == 4.0
    assert read("chat", {"SampleRate": 10})[0].weight == 10.0
    assert read("chat", {})[0].weight is None


def test_times_in_each_unit_are_nanoseconds() -> None:
    for attributes, scope in [
        ({"gen_ai.operation.name": "chat", "gen_ai.response.time_to_first_chunk": 0.25}, None),
        ({"ai.operationId": "ai.streamText.doStream", "ai.response.msToFirstChunk": 250.0}, "ai"),
        ({"gen_ai.operation.name": "chat", "gen_ai.server.time_to_first_token": 250}, "strands.telemetry"),
    ]:
        batch = normalise([RawSpan(TRACE, span_id(1), "chat", attributes=attributes, scope=scope)])
        assert batch.inferences[0].ttft_ns == 250_000_000


def test_every_dialect_is_found_by_its_own_marks() -> None:
    for dialect in DIALECTS:
        for scope in dialect.scopes:
            assert dialect_of(scope.rstrip("*"), {}) is dialect
        if not dialect.scopes:
            assert dialect.markers
