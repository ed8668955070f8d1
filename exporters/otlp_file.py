"""OTLP/JSON lines: stored spans in the current convention, one ``ExportTraceServiceRequest`` a trace.

What was decided goes out with them: a call that was merged into another, or that only repeats what its children used,
goes out as a plain span, so that a reader who adds up all usage gets the right sum. Attributes of other conventions,
which say the same under other names, are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import groupby
from typing import Any, TextIO

from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, Operation, Resource, Span, SpanKind, Status, ToolCall
from inferometer.schema.rows import InferenceRow, ToolCallRow
from inferometer.schema.selection import Selection
from inferometer.store import Store

_OPERATIONS = {
    Operation.CHAT: "chat",
    Operation.COMPLETION: "text_completion",
    Operation.EMBEDDING: "embeddings",
    Operation.RERANK: "rerank",
}
_KINDS = {
    SpanKind.AGENT: "invoke_agent",
    SpanKind.WORKFLOW: "invoke_workflow",
    SpanKind.TOOL: "execute_tool",
    SpanKind.RETRIEVAL: "retrieval",
}
_OTEL_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_STATUS = {Status.UNSET: 0, Status.OK: 1, Status.ERROR: 2}
_OTHER_CONVENTIONS = (
    *("gen_ai.", "inferometer.", "llm.", "openinference.", "input.", "output.", "langfuse.", "langsmith.", "ai."),
    *("traceloop.", "logfire.", "pydantic_ai.", "mlflow.", "gcp.vertex.", "claude_code.", "codex.", "monocle."),
    *("entity.", "tokens", "cost", "model", "usage", "metadata", "tag."),
)

_MERGED_INTO = "inferometer.merged_into"


def write_otlp(store: Store, selection: Selection, target: TextIO) -> int:
    """Write the spans of the selected runs and return their number."""
    count = 0
    for run in store.runs(selection):
        of_run = Selection(where=(("run", run.run_id),))
        calls = {
            (row.inference.trace_id, row.inference.span_id): row
            for row in store.inferences(of_run, billable_only=False)
        }
        tools = {(row.tool_call.trace_id, row.tool_call.span_id): row for row in store.tool_calls(of_run)}
        spans = sorted(store.spans_of_run(run.run_id), key=lambda span: span.trace_id)
        for _, members in groupby(spans, key=lambda span: span.trace_id):
            found = list(members)
            json.dump(_request(found, calls, tools), target, separators=(",", ":"))
            target.write("\n")
            count += len(found)
    return count


def _request(
    spans: list[Span],
    calls: Mapping[tuple[bytes, bytes], InferenceRow],
    tools: Mapping[tuple[bytes, bytes], ToolCallRow],
) -> dict[str, Any]:
    by_resource: dict[Resource | None, list[dict[str, Any]]] = {}
    for span in spans:
        key = (span.trace_id, span.span_id)
        row, tool = calls.get(key), tools.get(key)
        written = _span(span, row.inference if row else None, tool.tool_call if tool else None)
        by_resource.setdefault(span.resource, []).append(written)
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _attributes(dict(resource.attributes) if resource else {})},
                "scopeSpans": [{"scope": {"name": names.SCOPE}, "spans": written}],
                "schemaUrl": names.SCHEMA_URL,
            }
            for resource, written in by_resource.items()
        ]
    }


def _span(span: Span, call: Inference | None, tool: ToolCall | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "name": span.name,
        "kind": _OTEL_KINDS.get((span.otel_kind or "").lower(), 3 if call else 1),
        "attributes": _attributes(_span_attributes(span, call, tool)),
        "status": {"code": _STATUS[span.status]},
    }
    if span.parent_id is not None:
        document["parentSpanId"] = span.parent_id.hex()
    if span.start_ns is not None:
        document["startTimeUnixNano"] = str(span.start_ns)
    if span.end_ns is not None:
        document["endTimeUnixNano"] = str(span.end_ns)
    if span.links:
        document["links"] = [
            {
                "traceId": link.trace_id.hex(),
                "spanId": link.span_id.hex(),
                "attributes": _attributes(link.attributes),
            }
            for link in span.links
        ]
    return document


def _span_attributes(span: Span, call: Inference | None, tool: ToolCall | None) -> dict[str, Any]:
    attributes = {
        key: value for key, value in span.attributes.items() if not key.lower().startswith(_OTHER_CONVENTIONS)
    }
    attributes |= {
        names.AGENT_NAME: span.agent_name,
        names.CONVERSATION_ID: span.session_id,
        names.ERROR_TYPE: span.error_type,
        names.SAMPLING_WEIGHT: span.weight,
        names.PURPOSE: span.purpose.value if span.purpose else None,
        **{names.TAG + name: value for name, value in span.tags.items()},
    }
    if call is not None and call.billable:
        attributes |= _call_attributes(call)
    elif call is not None:
        attributes |= {names.KIND: SpanKind.OTHER.value}
        if call.merged_into is not None:
            attributes[_MERGED_INTO] = call.merged_into.hex()
    elif tool is not None:
        attributes |= {
            names.OPERATION: _KINDS[SpanKind.TOOL] if tool.merged_into is None else None,
            names.KIND: None if tool.merged_into is None else SpanKind.OTHER.value,
            names.TOOL_NAME: tool.name if tool.merged_into is None else None,
            names.TOOL_TYPE: tool.kind,
            names.TOOL_CALL_ID: tool.call_id,
            names.ARGUMENT_FINGERPRINT: tool.argument_fingerprint,
            names.RESULT_TOKENS: tool.result_tokens,
        }
    else:
        attributes |= {names.OPERATION: _KINDS.get(span.kind), names.KIND: span.kind.value}
    return {key: value for key, value in attributes.items() if value is not None}


def _call_attributes(call: Inference) -> dict[str, Any]:
    meters, composition = call.meters, call.composition
    attributes = {
        names.OPERATION: _OPERATIONS.get(call.operation),
        names.KIND: SpanKind.INFERENCE.value,
        names.PROVIDER: call.provider,
        names.REQUEST_MODEL: call.request_model,
        names.RESPONSE_MODEL: call.response_model,
        names.RESPONSE_ID: call.response_id,
        names.RESPONSE_FINISH_REASONS: [call.finish_reason] if call.finish_reason else None,
        names.REQUEST_STREAM: call.stream,
        names.SERVICE_TIER: call.service_tier,
        names.BATCH: call.batch,
        names.USAGE_SOURCE: call.usage_source.value,
        names.RECORDED_COST_USD: None if call.recorded_cost_usd is None else format(call.recorded_cost_usd, "f"),
        names.TTFT_NS: call.ttft_ns,
        names.INTER_TOKEN_P50_NS: call.inter_token_p50_ns,
        names.INTER_TOKEN_P95_NS: call.inter_token_p95_ns,
        **_usage_attributes(meters),
    }
    if call.tools_offered:
        attributes[names.TOOLS_OFFERED] = [offered.name for offered in call.tools_offered]
        attributes[names.TOOLS_OFFERED_TOKENS] = [offered.tokens or 0 for offered in call.tools_offered]
    if composition is not None:
        attributes |= {
            names.COMPOSITION_SYSTEM: composition.system,
            names.COMPOSITION_TOOLS: composition.tools,
            names.COMPOSITION_HISTORY: composition.history,
            names.COMPOSITION_TOOL_RESULTS: composition.tool_results,
            names.COMPOSITION_USER: composition.user,
        }
    return attributes


def _usage_attributes(meters: Meters) -> dict[str, Any]:
    writes = [count for count in (meters.cache_write_5m, meters.cache_write_1h) if count is not None]
    return {
        names.USAGE_INPUT: meters.input_total,
        names.USAGE_OUTPUT: meters.output,
        names.USAGE_CACHE_READ: meters.cache_read,
        names.USAGE_CACHE_WRITE: sum(writes) if writes else None,
        names.USAGE_CACHE_WRITE_5M: meters.cache_write_5m,
        names.USAGE_CACHE_WRITE_1H: meters.cache_write_1h,
        names.USAGE_REASONING: meters.reasoning,
        names.USAGE_TEXT_INPUT: meters.input_text,
        names.USAGE_AUDIO_INPUT: meters.input_audio,
        names.USAGE_IMAGE_INPUT: meters.input_image,
        names.USAGE_AUDIO_CACHE_READ: meters.cache_read_audio,
        names.USAGE_TEXT_OUTPUT: meters.output_text,
        names.USAGE_AUDIO_OUTPUT: meters.output_audio,
        names.USAGE_IMAGE_OUTPUT: meters.output_image,
    }


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _any_value(value)} for key, value in values.items()]


def _any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _attributes(value)}}
    return {"stringValue": str(value)}
