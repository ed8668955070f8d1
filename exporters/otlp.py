"""OTLP out: the official exporters, chosen as the environment asks, with a shorter way for our own spans."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from inferometer.schema.errors import UserError
from inferometer.tracer.conversion import readable
from inferometer.tracer.span import LeanSpan

PROTOCOLS = ("http/protobuf", "grpc")


def protocol() -> str:
    """Return the OTLP protocol that the environment asks for.

    Raises:
        UserError: for one that the official exporters do not speak.
    """
    for name in ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"):
        value = os.environ.get(name, "").strip().lower()
        if value:
            if value not in PROTOCOLS:
                raise UserError(f"{name}={value!r} is not spoken here; use {' or '.join(PROTOCOLS)}")
            return value
    return PROTOCOLS[0]


def otlp_exporter(endpoint: str | None = None, **options: Any) -> SpanExporter:
    """Return an OTLP span exporter.

    Args:
        endpoint: base URL, such as ``http://127.0.0.1:4318``; None obeys ``OTEL_EXPORTER_OTLP_*``.
        options: for the official exporter, such as ``headers`` and ``timeout`` (seconds).

    Raises:
        UserError: for a protocol that is not spoken.
    """
    if endpoint is None and protocol() == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        return GrpcExporter(**options)
    return LeanOtlpExporter(None if endpoint is None else endpoint.rstrip("/") + "/v1/traces", **options)


class LeanOtlpExporter(OTLPSpanExporter):
    """The official OTLP/HTTP exporter; our own spans are encoded directly and sent by its client, retries included."""

    def export_lean(
        self, spans: Sequence[LeanSpan], resource: Resource, scope: InstrumentationScope
    ) -> SpanExportResult:
        """Export our own spans."""
        from inferometer.exporters.encoding import encode_lean

        client = getattr(self, "_client", None)
        if client is None or not hasattr(client, "export"):
            # a release of the exporter that is built otherwise
            return self.export([readable(span, resource, scope) for span in spans])
        if getattr(self, "_shutdown", False):
            return SpanExportResult.FAILURE
        result = client.export(encode_lean(spans, resource, scope))
        return SpanExportResult.SUCCESS if result.success else SpanExportResult.FAILURE
