"""Real clients, and every signal over both transports."""

from __future__ import annotations

import contextlib
import sqlite3

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from inferometer.testing.otlp_requests import START_NS, build_request, stored_ids
from inferometer.testing.sidecar_process import Running, Start

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
LOGS = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"


def http_exporter(sidecar: Running, compression: Compression) -> SpanExporter:
    return HttpExporter(f"http://127.0.0.1:{sidecar.http_port}/v1/traces", compression=compression)


@pytest.mark.parametrize("kind", ["grpc", "grpc-gzip", "http", "http-gzip", "http-deflate"])
def test_the_python_sdks_exporters_deliver_everything(start: Start, kind: str) -> None:
    sidecar = start()
    exporter: SpanExporter
    if kind.startswith("grpc"):
        compression = grpc.Compression.Gzip if kind.endswith("gzip") else grpc.Compression.NoCompression
        exporter = GrpcExporter(f"http://127.0.0.1:{sidecar.grpc_port}", insecure=True, compression=compression)
    else:
        name = {"http": "NoCompression", "http-gzip": "Gzip", "http-deflate": "Deflate"}[kind]
        exporter = http_exporter(sidecar, Compression[name])
    provider = TracerProvider(resource=Resource({"service.name": "real-client"}))
    provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=64))
    tracer = provider.get_tracer("real.tracer", "1.0")
    ids = set()
    for number in range(200):
        with (
            tracer.start_as_current_span(
                "invoke_agent shop", attributes={"gen_ai.operation.name": "invoke_agent"}
            ) as agent,
            tracer.start_as_current_span(
                "chat", attributes={"gen_ai.operation.name": "chat", "number": number}
            ) as chat,
        ):
            pass
        for span in (agent, chat):
            context = span.get_span_context()
            ids.add((context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")))
    provider.shutdown()
    sidecar.wait_until_stored()
    assert set(stored_ids(sidecar.store)) == ids
    assert sidecar.stop() == 0
    with contextlib.closing(sqlite3.connect(sidecar.store)) as connection:
        assert connection.execute("SELECT DISTINCT service FROM resources").fetchall() == [("real-client",)]


def test_grpc_answers_success_partial_success_and_refusals(start: Start) -> None:
    from google.rpc.status_pb2 import Status
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    sidecar = start("--token", "a-long-enough-token", "--max-request-bytes", "1MiB")
    authorization = (("authorization", "Bearer a-long-enough-token"),)
    with sidecar.grpc_channel() as channel:
        export = channel.unary_unary(TRACES)
        request = build_request(3)
        assert export(request.SerializeToString(), metadata=authorization, timeout=20) == b""
        assert export(b"", metadata=authorization, timeout=20) == b""
        partial = build_request(2)
        partial.resource_spans[0].scope_spans[0].spans[0].trace_id = b"short"
        answer = export(partial.SerializeToString(), metadata=authorization, timeout=20)
        assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1
        for body, metadata, code in (
            (b"\xff" * 40, authorization, grpc.StatusCode.INVALID_ARGUMENT),
            (bytes(2 * 1024 * 1024), authorization, grpc.StatusCode.RESOURCE_EXHAUSTED),
            (request.SerializeToString(), (), grpc.StatusCode.UNAUTHENTICATED),
            (request.SerializeToString(), (("authorization", "Bearer wrong"),), grpc.StatusCode.UNAUTHENTICATED),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                export(body, metadata=metadata, timeout=20)
            assert caught.value.code() is code
        with pytest.raises(grpc.RpcError) as caught:
            export(b"\xff" * 40, metadata=authorization, timeout=20)
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        assert Status.FromString(details).code == 3
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Import")(b"", timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert sidecar.stop() == 0


def test_back_pressure_over_grpc_is_unavailable_with_retry_info(start: Start) -> None:
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    sidecar = start("--min-free-disk-bytes", "900T")
    with sidecar.grpc_channel() as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(TRACES)(build_request().SerializeToString(), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    status = Status.FromString(dict(caught.value.trailing_metadata())["grpc-status-details-bin"])
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    assert 1 <= info.retry_delay.seconds <= 3
    assert sidecar.stop() == 0


def build_logs() -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for number in range(3):
        record = scope.log_records.add(time_unix_nano=START_NS + number, event_name="some.event")
        record.body.string_value = "a line of log"
    return request


def build_metrics() -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    metric = scope.metrics.add(name="vllm:num_requests_running")
    for number in range(4):
        metric.gauge.data_points.add(time_unix_nano=START_NS + number * 1_000_000_000, as_double=float(number))
    return request


def test_logs_and_metrics_are_taken_over_both_transports(start: Start) -> None:
    sidecar = start()
    logs, metrics = build_logs().SerializeToString(), build_metrics().SerializeToString()
    assert sidecar.post(logs, "/v1/logs").status == 200
    assert sidecar.post(metrics, "/v1/metrics").status == 200
    with sidecar.grpc_channel() as channel:
        assert channel.unary_unary(LOGS)(logs, timeout=20) == b""
        assert channel.unary_unary(METRICS)(metrics, timeout=20) == b""
    sidecar.wait_until_stored()
    assert sidecar.metric("accepted_items_total") == 14
    assert sidecar.metric("quarantined_total") == 0
    assert sidecar.stop() == 0
    with contextlib.closing(sqlite3.connect(sidecar.store)) as connection:
        samples = connection.execute("SELECT metric, value FROM serving_samples ORDER BY time_ns").fetchall()
    assert samples == [("vllm:num_requests_running", float(number)) for number in range(4)]
