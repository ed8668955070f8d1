"""OTLP metrics of serving engines, devices and coding agents: readings by time, never calls.

``vllm:*``, ``sglang:*`` and DCGM metrics say how busy the hardware was; coding agents' token and cost counters are kept
beside them to reconcile with and are never added to the calls, which spans and logs tell one by one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from inferometer.ingest.otlp import Encoding, attributes_of, message_attributes, read_time
from inferometer.ingest.raw import resource_of
from inferometer.ingest.retention import MAX_NAME, clean, is_name
from inferometer.ingest.values import as_list, as_mapping
from inferometer.schema.errors import InputError
from inferometer.schema.records import RecordBatch, Resource, ServingSample

KEPT = (
    *("vllm:", "vllm.", "sglang:", "sglang.", "DCGM_", "dcgm", "gpu.", "hw.gpu", "tgi_", "trtllm", "nv_"),
    *("claude_code.", "codex.", "gemini_cli.", "gen_ai."),
)
"""Beginnings of the names of metrics that are kept."""


def decode_metrics(body: bytes, encoding: Encoding = "protobuf", warnings: Counter[str] | None = None) -> RecordBatch:
    """Return the serving samples of one metrics export request.

    Args:
        body: the message, uncompressed.
        encoding: how it is written.
        warnings: where what had to be left out is counted by kind.

    Raises:
        InputError: where the body as a whole cannot be read.
    """
    counts = Counter[str]() if warnings is None else warnings
    if encoding == "protobuf":
        return RecordBatch(serving_samples=list(_samples_of_protobuf(body, counts)))
    import orjson

    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InputError("OTLP body", f"not JSON: {error}") from error
    return metrics_of_json(document, counts)


def metrics_of_json(document: Any, warnings: Counter[str]) -> RecordBatch:
    """Return the serving samples of a decoded OTLP/JSON metrics document."""
    return RecordBatch(serving_samples=list(_samples_of_json(document, warnings)))


def _samples_of_json(document: Any, warnings: Counter[str]) -> Iterator[ServingSample]:
    if isinstance(document, list):
        for part in document:
            yield from _samples_of_json(part, warnings)
        return
    groups = document.get("resourceMetrics") if isinstance(document, dict) else None
    for group in groups if isinstance(groups, list) else ():
        if not isinstance(group, dict):
            warnings["not_an_object"] += 1
            continue
        pairs = (group.get("resource") or {}).get("attributes") if isinstance(group.get("resource"), dict) else None
        resource = resource_of(attributes_of(pairs, warnings))
        for part in as_list(group.get("scopeMetrics")):
            for metric in as_list(as_mapping(part).get("metrics")):
                if isinstance(metric, dict) and isinstance(metric.get("name"), str):
                    yield from _samples_of_metric(metric, resource, warnings)


def _samples_of_metric(metric: dict[str, Any], resource: Resource, warnings: Counter[str]) -> Iterator[ServingSample]:
    name = metric["name"]
    if not name.startswith(KEPT):
        warnings["other_metrics"] += 1
        return
    for kind in ("gauge", "sum", "histogram", "exponentialHistogram"):
        data = metric.get(kind)
        for point in as_list(as_mapping(data).get("dataPoints")):
            if not isinstance(point, dict):
                warnings["not_an_object"] += 1
                continue
            time_ns = read_time(point.get("timeUnixNano"), warnings)
            attributes = attributes_of(point.get("attributes"), warnings)
            if kind in {"gauge", "sum"}:
                values = {"": point.get("asDouble", point.get("asInt"))}
            else:
                values = {"_sum": point.get("sum"), "_count": point.get("count")}
            yield from _samples(name, time_ns, values, attributes, resource, warnings)


def _samples(
    name: str,
    time_ns: int | None,
    values: dict[str, Any],
    attributes: dict[str, Any],
    resource: Resource,
    warnings: Counter[str],
) -> Iterator[ServingSample]:
    kept = {
        clean(key, MAX_NAME): clean(str(value), MAX_NAME)
        for key, value in attributes.items()
        if is_name(value) and not key.startswith("user.")
    }
    for end, value in values.items():
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = float("nan")
        if time_ns is None or number - number != 0:
            warnings["broken_data_point"] += value is not None
            continue
        yield ServingSample(time_ns, clean(name + end, MAX_NAME), number, resource, kept)


def _samples_of_protobuf(body: bytes, warnings: Counter[str]) -> Iterator[ServingSample]:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    request = ExportMetricsServiceRequest()
    try:
        request.ParseFromString(body)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise InputError("OTLP body", f"not an ExportMetricsServiceRequest in protobuf: {error}") from error
    for group in request.resource_metrics:
        resource = resource_of(message_attributes(group.resource.attributes))
        for part in group.scope_metrics:
            for metric in part.metrics:
                if not metric.name.startswith(KEPT):
                    warnings["other_metrics"] += 1
                    continue
                kind = metric.WhichOneof("data")
                points = getattr(metric, kind).data_points if kind else ()
                for point in points:
                    if kind in {"gauge", "sum"}:
                        which = point.WhichOneof("value")
                        values: dict[str, Any] = {"": getattr(point, which) if which else None}
                    else:
                        values = {"_sum": point.sum, "_count": point.count}
                    time_ns = read_time(point.time_unix_nano, warnings)
                    attributes = message_attributes(point.attributes)
                    yield from _samples(metric.name, time_ns, values, attributes, resource, warnings)
