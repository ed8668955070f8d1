"""OTLP requests to send, and what of them a store holds."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

START_NS = 1_760_000_000_000_000_000


def build_request(
    spans: int = 1, *, trace_id: bytes | None = None, content: str = "", attributes: dict[str, Any] | None = None
) -> ExportTraceServiceRequest:
    """Return a request of chat spans with fresh ids, in one trace."""
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scope = group.scope_spans.add()
    scope.scope.name = "tests.sidecar"
    trace_id = trace_id or secrets.token_bytes(16)
    for number in range(spans):
        span = scope.spans.add(
            trace_id=trace_id,
            span_id=secrets.token_bytes(8),
            name="chat gpt-4o",
            kind=3,
            start_time_unix_nano=START_NS + number * 1_000_000,
            end_time_unix_nano=START_NS + number * 1_000_000 + 500_000,
        )
        values: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 10,
            **(attributes or {}),
        }
        if content:
            values["gen_ai.input.messages"] = content
        for key, value in values.items():
            pair = span.attributes.add(key=key)
            if isinstance(value, int):
                pair.value.int_value = value
            else:
                pair.value.string_value = value
    return request


def ids_of(request: ExportTraceServiceRequest) -> set[tuple[bytes, bytes]]:
    """Return the ids of a request's spans."""
    return {
        (span.trace_id, span.span_id)
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    }


def stored_ids(store: Path) -> list[tuple[bytes, bytes]]:
    """Return the ids of all spans of an SQLite store, in the order of their rows."""
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        return list(connection.execute("SELECT trace_id, span_id FROM spans"))
