"""OTLP traces: protobuf or JSON bytes to raw spans.

JSON is read in all the shapes met in the wild: an ``ExportTraceServiceRequest``, a list of them, one of its
``resourceSpans``, Tempo's answers (``batches``, or a request below ``trace``); ids in hex of either case, base64 or as
``Buffer`` objects, enums by name or number, integers as text.

Source: opentelemetry-proto 1.x, `trace/v1/trace.proto`; the JSON mapping of the OTLP 1.x specification.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from inferometer.ingest.raw import RawEvent, RawSpan, resource_of
from inferometer.schema.errors import InputError
from inferometer.schema.ids import SPAN_ID_BYTES, TRACE_ID_BYTES, derived_span_id, derived_trace_id
from inferometer.schema.records import Resource, SpanLink, Status

Encoding = Literal["protobuf", "json"]

MAX_TIME_NS = 2**63 - 1
"""The last nanosecond a signed 64-bit column holds, in 2262."""

MAX_DEPTH = 16
"""Nested attribute values below this depth are left out."""

_TEXT = frozenset({str})
_NOTHING = {TRACE_ID_BYTES: bytes(TRACE_ID_BYTES), SPAN_ID_BYTES: bytes(SPAN_ID_BYTES)}
_KINDS = (None, "internal", "server", "client", "producer", "consumer")
_KIND_NAMES = {f"SPAN_KIND_{name.upper()}": name for name in _KINDS if name}
_STATUSES = {
    1: Status.OK, "1": Status.OK, "STATUS_CODE_OK": Status.OK, "OK": Status.OK,
    2: Status.ERROR, "2": Status.ERROR, "STATUS_CODE_ERROR": Status.ERROR, "ERROR": Status.ERROR,
}  # fmt: skip


def decode_traces(body: bytes, encoding: Encoding = "protobuf", warnings: Counter[str] | None = None) -> list[RawSpan]:
    """Return the spans of one export request.

    Args:
        body: the message, uncompressed.
        encoding: how it is written.
        warnings: where what had to be mended or left out is counted by kind.

    Raises:
        InputError: where the body as a whole cannot be read.
    """
    counts = Counter[str]() if warnings is None else warnings
    if encoding == "protobuf":
        from inferometer.ingest import _otlp

        clean = _otlp.decode_spans(body, RawSpan, RawEvent, SpanLink, resource_of, _KINDS, tuple(Status))
        return list(_spans_of_protobuf(body, counts)) if clean is None else clean
    import orjson

    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError("OTLP body", f"not JSON: {error}") from error
    return list(spans_of_json(document, counts))


def spans_of_json(document: Any, warnings: Counter[str]) -> Iterator[RawSpan]:
    """Yield the spans of a decoded OTLP/JSON document of any of its shapes."""
    if isinstance(document, list):
        for part in document:
            yield from spans_of_json(part, warnings)
        return
    if not isinstance(document, dict):
        warnings["not_an_object"] += 1
        return
    if "scopeSpans" in document or "instrumentationLibrarySpans" in document:
        yield from _spans_of_resource(document, warnings)
        return
    groups = next((document[key] for key in ("resourceSpans", "resource_spans", "batches") if key in document), None)
    if groups is None and isinstance(document.get("trace"), dict):
        yield from spans_of_json(document["trace"], warnings)
        return
    if not isinstance(groups, list):
        warnings["without_spans"] += 1
        return
    for group in groups:
        if isinstance(group, dict):
            yield from _spans_of_resource(group, warnings)
        else:
            warnings["not_an_object"] += 1


def _spans_of_resource(group: dict[str, Any], warnings: Counter[str]) -> Iterator[RawSpan]:
    resource = resource_of(attributes_of(_mapping(group.get("resource")).get("attributes"), warnings))
    scopes = group.get("scopeSpans") or group.get("scope_spans") or group.get("instrumentationLibrarySpans") or ()
    for part in _objects(scopes, warnings):
        scope = _mapping(part.get("scope") or part.get("instrumentationLibrary"))
        name, version = _text(scope.get("name")), _text(scope.get("version"))
        spans = part.get("spans")
        for span in spans if isinstance(spans, list) else ():
            if isinstance(span, dict):
                raw = _span(span, resource, name, version, warnings)
                if raw is not None:
                    yield raw
            else:
                warnings["not_an_object"] += 1


def _span(
    span: dict[str, Any], resource: Resource, scope: str | None, version: str | None, warnings: Counter[str]
) -> RawSpan | None:
    get = span.get
    trace_id = read_id(get("traceId") or get("trace_id"), TRACE_ID_BYTES, warnings)
    span_id = read_id(get("spanId") or get("span_id"), SPAN_ID_BYTES, warnings)
    if trace_id is None or span_id is None:
        warnings["span_without_id"] += 1
        return None
    start_ns, end_ns = read_times(get("startTimeUnixNano"), get("endTimeUnixNano"), warnings)
    status = get("status")
    events = get("events")
    links = get("links")
    return RawSpan(
        trace_id,
        span_id,
        _text(get("name")) or "",
        read_id(get("parentSpanId") or get("parent_span_id"), SPAN_ID_BYTES, warnings),
        _kind(get("kind")),
        start_ns,
        end_ns,
        _status(status) if status else Status.UNSET,
        attributes_of(get("attributes"), warnings),
        [_event(event, warnings) for event in _objects(events, warnings)] if events else [],
        [link for entry in _objects(links, warnings) if (link := _link(entry, warnings))] if links else [],
        resource,
        scope,
        version,
        _text(get("traceState")),
    )


def _event(event: dict[str, Any], warnings: Counter[str]) -> RawEvent:
    time_ns = read_time(event.get("timeUnixNano"), warnings)
    return RawEvent(_text(event.get("name")) or "", time_ns, attributes_of(event.get("attributes"), warnings))


def _link(link: dict[str, Any], warnings: Counter[str]) -> SpanLink | None:
    trace_id = read_id(link.get("traceId"), TRACE_ID_BYTES, warnings)
    span_id = read_id(link.get("spanId"), SPAN_ID_BYTES, warnings)
    if trace_id is None or span_id is None:
        return None
    return SpanLink(trace_id, span_id, attributes_of(link.get("attributes"), warnings))


def _kind(kind: Any) -> str | None:
    if type(kind) is int:
        return _KINDS[kind] if 0 <= kind < len(_KINDS) else None
    if isinstance(kind, str):
        if kind.isdecimal() and int(kind) < len(_KINDS):
            return _KINDS[int(kind)]
        return _KIND_NAMES.get(kind)
    return None


def _status(status: Any) -> Status:
    code = status.get("code") if isinstance(status, dict) else status
    return _STATUSES.get(code, Status.UNSET) if isinstance(code, (int, str)) else Status.UNSET


def attributes_of(pairs: Any, warnings: Counter[str]) -> dict[str, Any]:
    """Return key-value pairs as a dictionary; the last of a repeated key wins, as in OpenTelemetry's own SDKs."""
    found: dict[str, Any] = {}
    if not pairs:
        return found
    if isinstance(pairs, dict):
        return {str(key): value for key, value in pairs.items()}
    if not isinstance(pairs, list):
        warnings["broken_attributes"] += 1
        return found
    for pair in pairs:
        try:
            value = pair["value"]
            # the common cases first: this loop is the hot one of the JSON import
            if "stringValue" in value:
                found[pair["key"]] = value["stringValue"]
            elif "intValue" in value:
                found[pair["key"]] = int(value["intValue"])
            else:
                found[pair["key"]] = _any_value(value, warnings, 0)
        except (KeyError, TypeError, ValueError):
            warnings["broken_attributes"] += 1
    if not _TEXT.issuperset(map(type, found)):
        named = {key: value for key, value in found.items() if type(key) is str}
        warnings["broken_attributes"] += len(found) - len(named)
        return named
    return found


def _any_value(value: Any, warnings: Counter[str], depth: int) -> Any:
    if not isinstance(value, dict):
        return value
    if depth > MAX_DEPTH:
        warnings["attribute_too_deep"] += 1
        return None
    for kind, plain in value.items():
        if kind == "intValue":
            return int(plain)
        if kind in {"stringValue", "boolValue"}:
            return plain
        if kind == "doubleValue":
            return float(plain)
        if kind == "arrayValue":
            return [_any_value(item, warnings, depth + 1) for item in _mapping(plain).get("values") or ()]
        if kind == "kvlistValue":
            pairs = _mapping(plain).get("values") or ()
            return {str(pair["key"]): _any_value(pair.get("value"), warnings, depth + 1) for pair in pairs}
        if kind == "bytesValue":
            return None
    return None


def read_id(value: Any, size: int, warnings: Counter[str]) -> bytes | None:
    """Return an id of ``size`` bytes from hex of either case, base64, bytes or a ``Buffer`` object.

    An id of another length becomes one derived from it, the same wherever it is met, so that its tree stays whole.
    """
    if not value:
        return None
    if type(value) is str and len(value) == 2 * size:
        try:
            found = bytes.fromhex(value)
        except ValueError:
            found = b""
        if len(found) == size:
            return found if found != _NOTHING[size] else None
    raw = value if isinstance(value, bytes) else _bytes_of(value, size)
    if raw is not None and len(raw) == size:
        return raw if any(raw) else None
    warnings["id_of_wrong_length"] += 1
    text = value.hex() if isinstance(value, bytes) else str(value)
    return derived_trace_id("wrong length", text) if size == TRACE_ID_BYTES else derived_span_id("wrong length", text)


def _bytes_of(value: Any, size: int) -> bytes | None:
    if isinstance(value, str):
        try:
            if len(value) == 2 * size:
                return bytes.fromhex(value)
            return base64.b64decode(value, validate=True)
        except (ValueError, binascii.Error):
            return None
    data = value.get("data") if isinstance(value, dict) else value
    try:
        return bytes(data) if isinstance(data, list) else None
    except (ValueError, TypeError):
        return None


def read_time(value: Any, warnings: Counter[str]) -> int | None:
    """Return nanoseconds since 1970; None where absent, zero or outside what 64 signed bits hold."""
    if value is None or value == 0 or value == "0" or value == "":
        return None
    try:
        time_ns = int(value)
    except (TypeError, ValueError, OverflowError):
        warnings["broken_time"] += 1
        return None
    if not 0 < time_ns <= MAX_TIME_NS:
        warnings["time_out_of_range"] += 1
        return None
    return time_ns


def read_times(start: Any, end: Any, warnings: Counter[str]) -> tuple[int | None, int | None]:
    """Return start and end; an end before the start is moved to it and counted, a missing end is counted."""
    start_ns, end_ns = read_time(start, warnings), read_time(end, warnings)
    if end_ns is None:
        warnings["unfinished_span"] += 1
    elif start_ns is not None and end_ns < start_ns:
        warnings["end_before_start"] += 1
        end_ns = start_ns
    return start_ns, end_ns


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(values: Any, warnings: Counter[str]) -> Iterator[dict[str, Any]]:
    for value in values if isinstance(values, (list, tuple)) else ():
        if isinstance(value, dict):
            yield value
        else:
            warnings["not_an_object"] += 1


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _spans_of_protobuf(body: bytes, warnings: Counter[str]) -> Iterator[RawSpan]:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise InputError("OTLP body", f"not an ExportTraceServiceRequest in protobuf: {error}") from error
    for group in request.resource_spans:
        resource = resource_of(message_attributes(group.resource.attributes))
        for part in group.scope_spans:
            name, version = part.scope.name or None, part.scope.version or None
            for span in part.spans:
                raw = _span_of_message(span, resource, name, version, warnings)
                if raw is not None:
                    yield raw


def _span_of_message(
    span: Any, resource: Resource, scope: str | None, version: str | None, warnings: Counter[str]
) -> RawSpan | None:
    trace_id = read_id(span.trace_id, TRACE_ID_BYTES, warnings)
    span_id = read_id(span.span_id, SPAN_ID_BYTES, warnings)
    if trace_id is None or span_id is None:
        warnings["span_without_id"] += 1
        return None
    start_ns, end_ns = read_times(span.start_time_unix_nano, span.end_time_unix_nano, warnings)
    links = []
    for link in span.links:
        linked = read_id(link.trace_id, TRACE_ID_BYTES, warnings), read_id(link.span_id, SPAN_ID_BYTES, warnings)
        if linked[0] is not None and linked[1] is not None:
            links.append(SpanLink(linked[0], linked[1], message_attributes(link.attributes)))
    return RawSpan(
        trace_id,
        span_id,
        span.name,
        read_id(span.parent_span_id, SPAN_ID_BYTES, warnings),
        _kind(span.kind),
        start_ns,
        end_ns,
        _STATUSES.get(span.status.code, Status.UNSET),
        message_attributes(span.attributes),
        [
            RawEvent(event.name, read_time(event.time_unix_nano, warnings), message_attributes(event.attributes))
            for event in span.events
        ],
        links,
        resource,
        scope,
        version,
        span.trace_state or None,
    )


def message_attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    """Return protobuf key-value pairs as a dictionary."""
    found: dict[str, Any] = {}
    for pair in pairs:
        value = pair.value
        # the common kinds first: this loop is the hot one of requests that the native reader leaves to us
        kind = value.WhichOneof("value")
        if kind == "string_value":
            found[pair.key] = value.string_value
        elif kind == "int_value":
            found[pair.key] = value.int_value
        else:
            found[pair.key] = _message_value(value, 0)
    return found


def _message_value(value: Any, depth: int) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or kind == "bytes_value" or depth > MAX_DEPTH:
        return None
    if kind == "array_value":
        return [_message_value(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _message_value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    return getattr(value, kind)
