"""OTLP logs that carry usage, cost or outcomes: coding agents' events become calls, joined later to their spans.

Claude Code, Codex and Gemini CLI tell usage in events, with or without spans for the same calls. An event becomes a
call of its own; where a span tells of the same call, by request id or by session, tokens and time, `joins` folds the
event into it. An event of the convention that names its span enriches that span.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from inferometer.ingest.normalise import normalise
from inferometer.ingest.otlp import Encoding, attributes_of, message_attributes, read_id, read_time
from inferometer.ingest.raw import RawEvent, RawSpan, resource_of
from inferometer.ingest.values import as_list, as_mapping
from inferometer.schema import attributes as ours
from inferometer.schema.errors import InputError
from inferometer.schema.ids import SPAN_ID_BYTES, TRACE_ID_BYTES, derived_span_id, derived_trace_id
from inferometer.schema.records import RecordBatch, Resource, Status

FROM_LOG = "inferometer.from_log"
"""Attribute of spans that were made of a log record."""

REQUEST_ID = "request_id"

_MILLISECOND = 1_000_000
_DETAILS = "gen_ai.client.inference.operation.details"


@dataclass(frozen=True, slots=True)
class _Event:
    """How an event is read as a span: under which scope and name, and which of its attributes name what."""

    scope: str
    span: str
    attributes: dict[str, Any] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    condition: tuple[str, str] | None = None


_EVENTS: dict[str, _Event] = {
    "claude_code.api_request": _Event("com.anthropic.claude_code.events", "claude_code.llm_request"),
    "claude_code.api_error": _Event("com.anthropic.claude_code.events", "claude_code.llm_request"),
    "claude_code.tool_result": _Event("com.anthropic.claude_code.events", "claude_code.tool"),
    "codex.sse_event": _Event("codex_otel.events", "stream_request", condition=("event.kind", "response.completed")),
    "codex.tool_result": _Event("codex_otel.events", "codex.tool_result"),
    "gemini_cli.api_response": _Event("gemini-cli.events", "llm_call", {"gen_ai.operation.name": "llm_call"}),
    "gemini_cli.api_error": _Event("gemini-cli.events", "llm_call", {"gen_ai.operation.name": "llm_call"}),
    "gemini_cli.tool_call": _Event(
        "gemini-cli.events",
        "tool_call",
        {"gen_ai.operation.name": "tool_call"},
        {"function_name": "gen_ai.tool.name"},
    ),
}
_PREFIXES = {"claude_code": "com.anthropic.claude_code", "gemini_cli": "gemini", "codex": "codex"}


@dataclass(slots=True)
class _Record:
    name: str
    time_ns: int | None
    trace_id: bytes | None
    span_id: bytes | None
    attributes: dict[str, Any]
    resource: Resource
    scope: str | None


def decode_logs(body: bytes, encoding: Encoding = "protobuf", warnings: Counter[str] | None = None) -> RecordBatch:
    """Return the records of one logs export request.

    Args:
        body: the message, uncompressed.
        encoding: how it is written.
        warnings: where what had to be mended or left out is counted by kind.

    Raises:
        InputError: where the body as a whole cannot be read.
    """
    counts = Counter[str]() if warnings is None else warnings
    if encoding == "protobuf":
        return _batch_of(_records_of_protobuf(body, counts), counts)
    import orjson

    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError("OTLP body", f"not JSON: {error}") from error
    return logs_of_json(document, counts)


def logs_of_json(document: Any, warnings: Counter[str]) -> RecordBatch:
    """Return the records of a decoded OTLP/JSON logs document."""
    return _batch_of(_records_of_json(document, warnings), warnings)


def _batch_of(records: Iterator[_Record], warnings: Counter[str]) -> RecordBatch:
    raws: list[RawSpan] = []
    for record in records:
        raws.extend(_raw_spans(record, warnings))
    return normalise(raws, source="logs")


def _raw_spans(record: _Record, warnings: Counter[str]) -> Iterator[RawSpan]:
    if record.name == ours.EVALUATION_EVENT or record.name == _DETAILS:
        if record.trace_id is None or record.span_id is None:
            warnings["event_without_span"] += 1
            return
        event = RawEvent(record.name, record.time_ns, record.attributes)
        is_evaluation = record.name == ours.EVALUATION_EVENT
        yield RawSpan(
            record.trace_id,
            record.span_id,
            "",
            attributes={} if is_evaluation else record.attributes,
            events=[event] if is_evaluation else [],
            resource=record.resource,
            scope=None if is_evaluation else record.scope,
        )
        return
    event_of = _EVENTS.get(record.name)
    if event_of is None or (
        event_of.condition is not None and record.attributes.get(event_of.condition[0]) != event_of.condition[1]
    ):
        warnings["other_log_records"] += 1
        return
    yield from _call_spans(record, event_of)


def _call_spans(record: _Record, event: _Event) -> Iterator[RawSpan]:
    get = record.attributes.get
    session = str(get("session.id") or get("conversation.id") or "")
    turn = str(get("prompt.id") or get("prompt_id") or "")
    trace_id = record.trace_id or derived_trace_id("log", event.scope, session or str(record.time_ns))
    identity = str(get(REQUEST_ID) or get("call_id") or get("tool_use_id") or "") or f"{record.time_ns}/{_digest(get)}"
    duration = get("duration_ms")
    try:
        took_ns = max(0, round(float(duration) * _MILLISECOND)) if duration is not None else 0
    except (TypeError, ValueError, OverflowError):
        took_ns = 0
    end_ns = record.time_ns
    start_ns = None if end_ns is None else max(1, end_ns - took_ns)
    parent_id = record.span_id
    if record.trace_id is None:
        # without spans the events of one prompt are a run: its span grows with each of them
        parent_id = derived_span_id("log run", session, turn)
        yield RawSpan(
            trace_id,
            parent_id,
            "interaction",
            start_ns=start_ns,
            end_ns=end_ns,
            attributes={"session.id": session, ours.KIND: "agent", "gen_ai.agent.name": _agent(event)},
            resource=record.resource,
        )
    attributes = {event.renamed.get(key, key): value for key, value in record.attributes.items()}
    attributes |= event.attributes
    attributes[FROM_LOG] = True
    failed = record.name.endswith("_error") or get("success") in {False, "false"}
    yield RawSpan(
        trace_id,
        derived_span_id("log", record.name, session, identity),
        event.span,
        parent_id,
        "internal",
        start_ns,
        end_ns,
        Status.ERROR if failed else Status.OK,
        attributes,
        resource=record.resource,
        scope=event.scope,
    )


def _agent(event: _Event) -> str:
    return {"com": "claude-code", "codex_otel": "codex", "gemini-cli": "gemini-cli"}[event.scope.partition(".")[0]]


def _digest(get: Any) -> str:
    return "/".join(
        str(get(key)) for key in ("model", "input_tokens", "input_token_count", "output_token_count", "tool_name")
    )


def _event_name(name: Any, attributes: dict[str, Any], body: Any, scope: str | None) -> str:
    for candidate in (name, attributes.get("event.name"), body):
        if isinstance(candidate, str) and candidate:
            if candidate in _EVENTS or "." in candidate:
                return candidate
            # Claude Code writes the name without its prefix into the attribute
            for prefix, start in _PREFIXES.items():
                if (scope or "").startswith(start):
                    return f"{prefix}.{candidate}"
    return ""


def _records_of_json(document: Any, warnings: Counter[str]) -> Iterator[_Record]:
    if isinstance(document, list):
        for part in document:
            yield from _records_of_json(part, warnings)
        return
    groups = document.get("resourceLogs") if isinstance(document, dict) else None
    for group in groups if isinstance(groups, list) else ():
        if not isinstance(group, dict):
            warnings["not_an_object"] += 1
            continue
        resource_part = group.get("resource")
        pairs = resource_part.get("attributes") if isinstance(resource_part, dict) else None
        resource = resource_of(attributes_of(pairs, warnings))
        for part in as_list(group.get("scopeLogs")):
            scope_part = part.get("scope") if isinstance(part, dict) else None
            scope = scope_part.get("name") if isinstance(scope_part, dict) else None
            for record in as_list(as_mapping(part).get("logRecords")):
                if isinstance(record, dict):
                    yield _record_of_json(record, resource, scope, warnings)
                else:
                    warnings["not_an_object"] += 1


def _record_of_json(record: dict[str, Any], resource: Resource, scope: Any, warnings: Counter[str]) -> _Record:
    attributes = attributes_of(record.get("attributes"), warnings)
    body = record.get("body")
    text = body.get("stringValue") if isinstance(body, dict) else None
    scope = scope if isinstance(scope, str) else None
    time_ns = read_time(record.get("timeUnixNano"), warnings) or read_time(record.get("observedTimeUnixNano"), warnings)
    return _Record(
        _event_name(record.get("eventName"), attributes, text, scope),
        time_ns,
        read_id(record.get("traceId"), TRACE_ID_BYTES, warnings),
        read_id(record.get("spanId"), SPAN_ID_BYTES, warnings),
        attributes,
        resource,
        scope,
    )


def _records_of_protobuf(body: bytes, warnings: Counter[str]) -> Iterator[_Record]:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

    request = ExportLogsServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise InputError("OTLP body", f"not an ExportLogsServiceRequest in protobuf: {error}") from error
    for group in request.resource_logs:
        resource = resource_of(message_attributes(group.resource.attributes))
        for part in group.scope_logs:
            scope = part.scope.name or None
            for record in part.log_records:
                attributes = message_attributes(record.attributes)
                time_ns = read_time(record.time_unix_nano, warnings) or read_time(
                    record.observed_time_unix_nano, warnings
                )
                yield _Record(
                    _event_name(getattr(record, "event_name", ""), attributes, record.body.string_value, scope),
                    time_ns,
                    read_id(record.trace_id, TRACE_ID_BYTES, warnings),
                    read_id(record.span_id, SPAN_ID_BYTES, warnings),
                    attributes,
                    resource,
                    scope,
                )
