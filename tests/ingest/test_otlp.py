# ruff: noqa: E501 - bodies are written as their providers write them
"""OTLP of every shape, and of none: truncated, mistyped, oversized, out of range."""

from __future__ import annotations

import base64
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from inferometer.ingest.importing import import_paths
from inferometer.ingest.logs import decode_logs
from inferometer.ingest.metrics import decode_metrics
from inferometer.ingest.normalise import normalise
from inferometer.ingest.otlp import decode_traces
from inferometer.ingest.resolve import resolve
from inferometer.schema.errors import InputError
from inferometer.schema.records import Status
from inferometer.store import Store
from inferometer.testing.raw_spans import START

TRACE, SPAN = bytes(range(16)), bytes(range(8))
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": 2}


def document(**changes: Any) -> dict[str, Any]:
    pairs = [{"key": key, "value": {"intValue" if isinstance(value, int) else "stringValue": value}} for key, value in CHAT.items()]  # fmt: skip
    span = {
        "traceId": TRACE.hex(), "spanId": SPAN.hex(), "name": "chat", "kind": 3, "startTimeUnixNano": str(START),
        "endTimeUnixNano": str(START + 10), "attributes": pairs, "status": {"code": 2},
    } | changes  # fmt: skip
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": [span]}]}]}


def decode(value: Any) -> tuple[list[Any], Counter[str]]:
    warnings: Counter[str] = Counter()
    return decode_traces(json.dumps(value).encode(), "json", warnings), warnings


def protobuf() -> bytes:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=TRACE, span_id=SPAN, name="chat", kind=3)
    span.start_time_unix_nano, span.end_time_unix_nano = START, START + 10
    for key, value in CHAT.items():
        pair = span.attributes.add(key=key)
        if isinstance(value, int):
            pair.value.int_value = value
        else:
            pair.value.string_value = value
    span.status.code = 2
    return bytes(request.SerializeToString())


def test_protobuf_and_json_read_alike() -> None:
    [one] = decode_traces(protobuf(), "protobuf")
    [other] = decode(document())[0]
    for raw in (one, other):
        assert (raw.trace_id, raw.span_id, raw.otel_kind, raw.status) == (TRACE, SPAN, "client", Status.ERROR)
        assert (raw.start_ns, raw.end_ns, raw.attributes) == (START, START + 10, CHAT)


@pytest.mark.parametrize("shape", [
    {"traceId": TRACE.hex().upper(), "spanId": SPAN.hex().upper()},
    {"traceId": base64.b64encode(TRACE).decode(), "spanId": base64.b64encode(SPAN).decode()},
    {"traceId": {"type": "Buffer", "data": list(TRACE)}, "spanId": {"type": "Buffer", "data": list(SPAN)}},
    {"kind": "SPAN_KIND_CLIENT", "status": {"code": "STATUS_CODE_ERROR"}},
    {"startTimeUnixNano": START, "endTimeUnixNano": START + 10},
])  # fmt: skip
def test_shapes_met_in_the_wild_read_alike(shape: dict[str, Any]) -> None:
    [raw], warnings = decode(document(**shape))
    assert (raw.trace_id, raw.span_id, raw.otel_kind, raw.status, raw.start_ns) == (
        TRACE,
        SPAN,
        "client",
        Status.ERROR,
        START,
    )
    assert not warnings


def test_lists_and_parts_of_requests_are_read() -> None:
    assert len(decode([document(), [document()]])[0]) == 2
    assert len(decode(document()["resourceSpans"])[0]) == 1


def test_traces_as_tempo_answers_them_are_read(tmp_path: Path, store: Store) -> None:
    ids = {"traceId": base64.b64encode(TRACE).decode(), "spanId": base64.b64encode(SPAN).decode()}
    told = document(**ids, kind="SPAN_KIND_CLIENT", status={"code": "STATUS_CODE_ERROR"})
    for name, answer in {"v1": {"batches": told["resourceSpans"]}, "v2": {"trace": told, "metrics": {}}}.items():
        [raw], warnings = decode(answer)
        assert (raw.trace_id, raw.span_id, raw.otel_kind, warnings) == (TRACE, SPAN, "client", Counter())
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(answer))
        report = import_paths(store, [path])
        assert (report.files, report.spans + report.duplicates) == (1, 1)


def test_protobuf_cut_at_every_byte_raises_our_error_or_reads_less() -> None:
    body = protobuf()
    for end in range(len(body)):
        for read in (decode_traces, decode_logs, decode_metrics):
            try:
                found = read(body[:end], "protobuf", Counter())
            except InputError:
                continue
            assert found is not None


@pytest.mark.parametrize("start", [0, -1, 2**63, 2**64 - 1, "soon", None, 1.5])
def test_times_that_no_column_holds_are_unknown(start: Any) -> None:
    raws, _ = decode(document(startTimeUnixNano=start, endTimeUnixNano=start))
    assert raws[0].start_ns in {None, 1}


def test_end_before_start_is_moved_and_counted() -> None:
    [raw], warnings = decode(document(endTimeUnixNano=str(START - 5)))
    assert raw.end_ns == START
    assert warnings == {"end_before_start": 1}


def test_ids_of_wrong_length_keep_their_tree_and_are_counted() -> None:
    spans = [document(traceId="abc", spanId="root"), document(traceId="abc", spanId="leaf", parentSpanId="root")]
    raws, warnings = decode(spans)
    assert raws[0].trace_id == raws[1].trace_id
    assert raws[1].parent_id == raws[0].span_id
    assert warnings["id_of_wrong_length"] == 5


def test_span_without_id_is_counted() -> None:
    assert decode(document(spanId="0" * 16)) == ([], Counter({"span_without_id": 1}))


def attributes(count: int, size: int) -> list[dict[str, Any]]:
    return [{"key": f"app.k{number}", "value": {"stringValue": "x" * size}} for number in range(count)]


def test_huge_attributes_are_cut_and_counted() -> None:
    [raw], _ = decode(document(attributes=attributes(10_000, 4)))
    span = normalise([raw]).spans[0]
    assert len(span.attributes) <= 128
    assert span.attributes_dropped > 9_000
    [raw], _ = decode(document(attributes=[{"key": "gen_ai.request.model", "value": {"stringValue": "m" * 1_000_000}}]))
    assert sum(len(str(value)) for value in normalise([raw]).spans[0].attributes.values()) <= 1024


def test_deep_values_are_left_out_and_counted() -> None:
    value: dict[str, Any] = {"stringValue": "deep"}
    for _ in range(200):
        value = {"arrayValue": {"values": [value]}}
    _, warnings = decode(document(attributes=[{"key": "deep", "value": value}]))
    assert warnings["attribute_too_deep"] == 1


def test_nul_and_lone_surrogates_reach_no_database(store: Store) -> None:
    from inferometer.ingest.commit import commit

    pairs = [{"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}}, {"key": "gen_ai.request.model", "value": {"stringValue": "m\x00odel\ud800"}}]  # fmt: skip
    raws = map_spans(document(name="a\x00b\udfff", attributes=pairs))
    with store.transaction() as transaction:
        commit(transaction, normalise(raws))
    [row] = store.inferences()
    assert row.inference.model == "model?"


def map_spans(value: Any) -> list[Any]:
    from inferometer.ingest.otlp import spans_of_json

    return list(spans_of_json(value, Counter()))


def test_tree_of_depth_200_and_cycles_are_resolved() -> None:
    def chain(number: int) -> dict[str, Any]:
        parent = f"{number:016x}" if number else f"{200:016x}"
        return document(spanId=f"{number + 1:016x}", parentSpanId=parent)

    raws, _ = decode([chain(number) for number in range(200)])
    decisions = resolve(normalise(raws), START)
    assert len(decisions.run_ids) == 200


def test_metrics_of_engines_become_samples() -> None:
    point = {
        "timeUnixNano": str(START),
        "asDouble": 0.5,
        "attributes": [{"key": "model_name", "value": {"stringValue": "m"}}],
    }
    metrics = [
        {"name": "vllm:gpu_cache_usage_perc", "gauge": {"dataPoints": [point]}},
        {"name": "http.server.duration", "gauge": {"dataPoints": [point]}},
        {"name": "vllm:ttft", "histogram": {"dataPoints": [{"timeUnixNano": str(START), "sum": 3.0, "count": "4"}]}},
    ]
    body = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": metrics}]}]}).encode()
    samples = decode_metrics(body, "json", Counter()).serving_samples
    assert [(sample.metric, sample.value) for sample in samples] == [
        ("vllm:gpu_cache_usage_perc", 0.5), ("vllm:ttft_sum", 3.0), ("vllm:ttft_count", 4.0),
    ]  # fmt: skip
    assert samples[0].attributes == {"model_name": "m"}
