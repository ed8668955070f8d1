"""Where spans go when the program does not say: the environment, a sidecar on this machine, the user's store."""

from __future__ import annotations

import http.client
import os
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from inferometer.tracer.guard import logger, report

SIDECAR_HOST = "127.0.0.1"
SIDECAR_PORT = 4318
PROBE_TIMEOUT_S = 0.2
_OTLP_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

MakeExporter = Callable[[], SpanExporter]


def from_environment() -> list[MakeExporter]:
    """Return what the environment names: an OTLP endpoint, a store, or both; empty where it names none.

    Raises:
        UserError: for an OTLP protocol that is not spoken.
    """
    from inferometer.exporters.direct import StoreSpanExporter
    from inferometer.exporters.otlp import otlp_exporter, protocol

    found: list[MakeExporter] = []
    if any(os.environ.get(name) for name in _OTLP_ENDPOINTS):
        protocol()
        found.append(otlp_exporter)
    if url := os.environ.get("INFEROMETER_STORE"):
        found.append(lambda: StoreSpanExporter(url))
    return found


def discover() -> SpanExporter:
    """Return an exporter to the sidecar on this machine, else to the user's store; asks for 200 ms at most."""
    from inferometer.exporters.direct import StoreSpanExporter
    from inferometer.exporters.otlp import otlp_exporter

    if sidecar_answers():
        logger.info("inferometer: traces go to the sidecar at http://%s:%d", SIDECAR_HOST, SIDECAR_PORT)
        return otlp_exporter(f"http://{SIDECAR_HOST}:{SIDECAR_PORT}")
    logger.info("inferometer: traces go to the local store")
    return StoreSpanExporter()


def sidecar_answers(host: str = SIDECAR_HOST, port: int = SIDECAR_PORT) -> bool:
    """Whether an Inferometer sidecar names itself there; a Collector or Jaeger on that port is not ours."""
    connection = http.client.HTTPConnection(host, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status == 200 and b"inferometer" in response.read(4096)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


class FanOutExporter(SpanExporter):
    """Sends each batch to several exporters; one that fails does not keep it from the others."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self._exporters = exporters

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Return SUCCESS where all took the batch."""
        result = SpanExportResult.SUCCESS
        for exporter in self._exporters:
            try:
                if exporter.export(spans) is not SpanExportResult.SUCCESS:
                    result = SpanExportResult.FAILURE
            except Exception as error:
                report(f"export to {type(exporter).__name__}", error)
                result = SpanExportResult.FAILURE
        return result

    def shutdown(self) -> None:
        """Shut all of them down."""
        for exporter in self._exporters:
            try:
                exporter.shutdown()
            except Exception as error:
                report("export shutdown", error)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush all of them."""
        answers = [exporter.force_flush(timeout_millis) for exporter in self._exporters]
        return all(answer is not False for answer in answers)
