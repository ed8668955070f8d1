"""Model and tool calls to rows and back; the order of each tuple is the order of the table's columns."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from inferometer.schema.meters import METER_NAMES, Meters
from inferometer.schema.records import (
    Attempt,
    Composition,
    Dependency,
    DependencyKind,
    Inference,
    InferenceDecision,
    Operation,
    ToolCall,
    ToolCallDecision,
    ToolOffered,
    UsageSemantics,
    UsageSource,
)
from inferometer.store.encoding import dump_json, load_json
from inferometer.store.writers.base import Row

_METER_COUNT = len(METER_NAMES)

# calling an enumeration takes five times as long as a dictionary, and each call of a store has four
_OPERATIONS = {member.value: member for member in Operation}
_USAGE_SOURCES = {member.value: member for member in UsageSource}
_USAGE_SEMANTICS = {member.value: member for member in UsageSemantics}
_DEPENDENCIES = {member.value: member for member in DependencyKind}


def dump_dependencies(dependencies: list[Dependency]) -> str | None:
    """Return the JSON text of a call's dependencies."""
    if not dependencies:
        return None
    return dump_json([[edge.span_id.hex(), edge.kind._value_, edge.gap_ns] for edge in dependencies])


def _dependencies(text: str | None) -> list[Dependency]:
    if not text:
        return []
    return [Dependency(bytes.fromhex(span), _DEPENDENCIES[kind], gap) for span, kind, gap in load_json(text)]


def dump_reasons(reasons: list[str]) -> str | None:
    """Return the JSON text of why something was decided."""
    return dump_json(reasons) if reasons else None


def _dump_composition(parts: Composition) -> str:
    return dump_json([parts.system, parts.tools, parts.history, parts.tool_results, parts.user])


def inference_row(
    call: Inference, segment_id: bytes | None, blocks: int | None, decision: InferenceDecision | None = None
) -> Row:
    """Return the ``inferences`` row of a record whose prefix chain lies in a segment."""
    meters, composition = call.meters, call.composition
    reasons = dump_json(call.reasons) if call.reasons else None
    depends_on = dump_dependencies(call.depends_on) if call.depends_on else None
    decided: Row
    if decision is None:
        decided = (None, depends_on, call.billable, call.merged_into, reasons)
    else:
        decided = (
            decision.agent_name,
            dump_dependencies(decision.depends_on) if decision.depends_on else depends_on,
            decision.billable,
            decision.merged_into,
            dump_json(decision.reasons) if decision.reasons else None,
        )
    return (
        call.trace_id,
        call.span_id,
        call.provider,
        call.request_model,
        call.response_model,
        call.response_id,
        call.operation._value_,
        meters.input_fresh,
        meters.cache_read,
        meters.cache_write_5m,
        meters.cache_write_1h,
        meters.output,
        meters.reasoning,
        meters.input_text,
        meters.input_audio,
        meters.input_image,
        meters.cache_read_audio,
        meters.output_text,
        meters.output_audio,
        meters.output_image,
        None if call.raw_usage is None else dump_json(call.raw_usage),
        call.usage_source._value_,
        call.usage_semantics._value_,
        call.service_tier,
        call.batch,
        call.stream,
        dump_json([[a.status, a.start_ns, a.end_ns] for a in call.attempts]) if call.attempts else None,
        call.ttft_ns,
        call.inter_token_p50_ns,
        call.inter_token_p95_ns,
        call.finish_reason,
        dump_json([[tool.name, tool.tokens] for tool in call.tools_offered]) if call.tools_offered else None,
        None if composition is None else _dump_composition(composition),
        None if call.recorded_cost_usd is None else format(call.recorded_cost_usd, "f"),
        call.queue_ns,
        call.prefill_ns,
        call.decode_ns,
        segment_id,
        blocks,
        depends_on,
        call.billable,
        call.merged_into,
        reasons,
        *decided,
    )


def inference_of(row: Sequence[Any], *, decided: bool) -> Inference:
    """Return the record of an ``inferences`` row, without its prefix chain.

    Args:
        row: the table's columns in their order.
        decided: what was decided about the call, else what its source said.
    """
    after = 7 + _METER_COUNT
    (
        raw_usage, usage_source, usage_semantics, service_tier, batch, stream, attempts, ttft_ns, p50, p95,
        finish_reason, tools_offered, composition, recorded, queue_ns, prefill_ns, decode_ns, _, _,
        source_depends_on, source_billable, source_merged_into, source_reasons, _,
        depends_on, billable, merged_into, reasons,
    ) = row[after:]  # fmt: skip
    if not decided:
        depends_on, billable, merged_into, reasons = (
            source_depends_on,
            source_billable,
            source_merged_into,
            source_reasons,
        )
    return Inference(
        row[0],
        row[1],
        row[2],
        row[3],
        row[4],
        row[5],
        _OPERATIONS[row[6]],
        Meters(*row[7:after]),
        load_json(raw_usage) if raw_usage else None,
        _USAGE_SOURCES[usage_source],
        _USAGE_SEMANTICS[usage_semantics],
        service_tier,
        None if batch is None else bool(batch),
        None if stream is None else bool(stream),
        [Attempt(*attempt) for attempt in load_json(attempts)] if attempts else [],
        ttft_ns,
        p50,
        p95,
        finish_reason,
        [ToolOffered(*tool) for tool in load_json(tools_offered)] if tools_offered else [],
        Composition(*load_json(composition)) if composition else None,
        None if recorded is None else Decimal(recorded),
        queue_ns,
        prefill_ns,
        decode_ns,
        _dependencies(depends_on) if depends_on else [],
        None,
        bool(billable),
        merged_into,
        load_json(reasons) if reasons else [],
    )


def tool_call_row(call: ToolCall, decision: ToolCallDecision | None = None) -> Row:
    """Return the ``tool_calls`` row of a record."""
    reasons = dump_reasons(call.reasons)
    decided: Row = (None, call.merged_into, reasons)
    if decision is not None:
        decided = (decision.agent_name, decision.merged_into, dump_reasons(decision.reasons))
    return (
        call.trace_id,
        call.span_id,
        call.name,
        call.kind,
        call.call_id,
        call.argument_fingerprint,
        call.result_tokens,
        call.error,
        call.duration_ns,
        call.merged_into,
        reasons,
        *decided,
    )


def tool_call_of(row: Sequence[Any], *, decided: bool) -> ToolCall:
    """Return the record of a ``tool_calls`` row; see `inference_of` for ``decided``."""
    merged_into, reasons = (row[12], row[13]) if decided else (row[9], row[10])
    trace_id, span_id, name, kind, call_id, fingerprint, tokens, error, duration_ns = row[:9]
    return ToolCall(
        trace_id,
        span_id,
        name,
        kind,
        call_id,
        fingerprint,
        tokens,
        error,
        duration_ns,
        merged_into,
        load_json(reasons) if reasons else [],
    )
