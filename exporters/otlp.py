"""OTLP out: the official exporters, chosen as the environment asks."""

from __future__ import annotations

import os
from typing import Any

from opentelemetry.sdk.trace.export import SpanExporter

from inferometer.schema.errors import UserError

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
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter

    return HttpExporter(None if endpoint is None else endpoint.rstrip("/") + "/v1/traces", **options)
