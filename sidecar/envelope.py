"""What a request must be before it is acknowledged: readable as a whole, each of its items with sound ids.

A request that cannot be read is refused; an item that cannot be kept is taken out and counted as rejected, so that one
bad span never costs the batch. Nothing of the items' content is looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from inferometer.ingest import _otlp
from inferometer.sidecar.answer import JSON, PROTOBUF
from inferometer.sidecar.refusal import Refusal

SIGNALS = ("traces", "logs", "metrics")
MAX_JSON_MARKS = 4_000_000
"""Brackets and commas of a JSON body: a value of two bytes takes a hundred once it is read, so that bytes alone bound
nothing. A request of 64 MiB whose texts are like others has less than half as many."""

_ID_LENGTHS = "trace ids have 16 bytes and span ids 8, not all zero"
_ENUM_NAME = "enum values are integers in OTLP/JSON, never names"
_GROUPS = {  # signal: (resource groups, scope groups, items) in protobuf and in JSON
    "traces": (("resource_spans", "scope_spans", "spans"), ("resourceSpans", "scopeSpans", "spans")),
    "logs": (("resource_logs", "scope_logs", "log_records"), ("resourceLogs", "scopeLogs", "logRecords")),
    "metrics": (("resource_metrics", "scope_metrics", "metrics"), ("resourceMetrics", "scopeMetrics", "metrics")),
}
_POINTS = ("gauge", "sum", "histogram", "exponentialHistogram", "summary")


@dataclass(slots=True, frozen=True)
class Envelope:
    """A request that was looked over: how many items it holds, how many were taken out and why."""

    items: int
    rejected: int = 0
    message: str = ""
    rewritten: bytes | None = None
    """The request without its rejected items; None where none was rejected."""


def open_envelope(signal: str, encoding: str, body: bytes) -> Envelope:
    """Look a request over.

    Args:
        signal: ``traces``, ``logs`` or ``metrics``.
        encoding: ``protobuf`` or ``json``.
        body: the message, uncompressed.

    Raises:
        Refusal: the message cannot be read as a whole.
    """
    if encoding == PROTOBUF:
        return _open_protobuf(signal, body)
    assert encoding == JSON
    return _open_json(signal, body)


def parse_message(signal: str, body: bytes) -> Any:
    """Return the ``Export*ServiceRequest`` of a signal.

    Raises:
        Refusal: the bytes are not one.
    """
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    request = message_type(signal)()
    try:
        request.ParseFromString(body)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise Refusal.malformed(f"the body is not an OTLP {signal} request in protobuf") from error
    return request


def message_type(signal: str) -> Callable[[], Any]:
    """Return the protobuf class of a signal's request."""
    if signal == "traces":
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        return ExportTraceServiceRequest
    if signal == "logs":
        from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

        return ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    return ExportMetricsServiceRequest


def item_lists(signal: str, request: Any) -> Iterator[Any]:
    """Yield the lists of items of a protobuf request, one a scope."""
    groups, scopes, items = _GROUPS[signal][0]
    for group in getattr(request, groups):
        for scope in getattr(group, scopes):
            yield getattr(scope, items)


def _open_protobuf(signal: str, body: bytes) -> Envelope:
    spans = _otlp.count_spans(body) if signal == "traces" else None
    if spans is not None:
        return Envelope(spans)
    request = parse_message(signal, body)
    total = rejected = 0
    if signal == "metrics":
        for metrics in item_lists(signal, request):
            total += sum(_points_of_message(metric) for metric in metrics)
        return Envelope(total)
    is_bad = _is_bad_span_message if signal == "traces" else _is_bad_log_message
    for items in item_lists(signal, request):
        total += len(items)
        bad = [position for position, item in enumerate(items) if is_bad(item)]
        rejected += len(bad)
        for position in reversed(bad):
            del items[position]
    if not rejected:
        return Envelope(total)
    return Envelope(total - rejected, rejected, f"{rejected} rejected: {_ID_LENGTHS}", request.SerializeToString())


_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)


def _is_bad_span_message(span: Any) -> bool:
    trace_id, span_id = span.trace_id, span.span_id
    return (
        len(trace_id) != 16
        or len(span_id) != 8
        or len(span.parent_span_id) not in (0, 8)
        or trace_id == _NO_TRACE
        or span_id == _NO_SPAN
    )


def _is_bad_log_message(record: Any) -> bool:
    return len(record.trace_id) not in (0, 16) or len(record.span_id) not in (0, 8)


def _points_of_message(metric: Any) -> int:
    kind = metric.WhichOneof("data")
    return len(getattr(metric, kind).data_points) if kind else 0


def _open_json(signal: str, body: bytes) -> Envelope:
    import orjson

    if not body.strip():
        return Envelope(0)
    if sum(map(body.count, (b"{", b"[", b","))) > MAX_JSON_MARKS:
        raise Refusal.too_manifold(MAX_JSON_MARKS)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refusal.malformed("the body is not JSON") from error
    groups, scopes, items = _GROUPS[signal][1]
    if not isinstance(document, dict):
        raise Refusal.malformed(f"the body is not an object with {groups!r}")
    snake = _GROUPS[signal][0][0]
    if snake in document:
        raise Refusal.malformed(f"keys are lowerCamelCase in OTLP/JSON: {groups!r}, not {snake!r}")
    check = {"traces": _fault_of_span, "logs": _fault_of_log, "metrics": _fault_of_metric}[signal]
    total = rejected = 0
    message = ""
    for group in _objects(document, groups):
        for scope in _objects(group, scopes):
            kept = []
            for item in _objects(scope, items):
                weight = _points_of_object(item) if signal == "metrics" else 1
                if fault := check(item):
                    rejected += weight
                    message = fault
                else:
                    total += weight
                    kept.append(item)
            if rejected:
                scope[items] = kept
    if not rejected:
        return Envelope(total)
    return Envelope(total, rejected, f"{rejected} rejected: {message}", orjson.dumps(document))


def _objects(parent: dict[str, Any], key: str) -> list[dict[str, Any]]:
    values = parent.get(key)
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise Refusal.malformed(f"{key!r} is not a list of objects")
    return values


def _fault_of_span(span: dict[str, Any]) -> str:
    if not (_is_id(span.get("traceId"), 32) and _is_id(span.get("spanId"), 16)):
        return _ID_LENGTHS + ", in hexadecimal"
    parent = span.get("parentSpanId")
    if parent and not _is_hex(parent, 16):
        return _ID_LENGTHS + ", in hexadecimal"
    status = span.get("status")
    if isinstance(span.get("kind"), str) or (isinstance(status, dict) and isinstance(status.get("code"), str)):
        return _ENUM_NAME
    return "" if isinstance(span.get("name", ""), str) else "a span's name is text"


def _fault_of_log(record: dict[str, Any]) -> str:
    for key, digits in (("traceId", 32), ("spanId", 16)):
        value = record.get(key)
        if value and not _is_hex(value, digits):
            return _ID_LENGTHS + ", in hexadecimal"
    return _ENUM_NAME if isinstance(record.get("severityNumber"), str) else ""


def _fault_of_metric(metric: dict[str, Any]) -> str:
    return "" if isinstance(metric.get("name"), str) else "a metric's name is text"


def _points_of_object(metric: dict[str, Any]) -> int:
    for kind in _POINTS:
        data = metric.get(kind)
        if isinstance(data, dict):
            points = data.get("dataPoints")
            return len(points) if isinstance(points, list) else 0
    return 0


_HEX = frozenset("0123456789abcdefABCDEF")


def _is_hex(value: Any, digits: int) -> bool:
    return isinstance(value, str) and len(value) == digits and _HEX.issuperset(value)


def _is_id(value: Any, digits: int) -> bool:
    return _is_hex(value, digits) and value.strip("0") != ""
