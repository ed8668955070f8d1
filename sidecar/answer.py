"""Bodies of OTLP answers: ``Export*ServiceResponse`` and ``google.rpc.Status``, as protobuf or JSON.

::

    Export*ServiceResponse  { 1: partial_success { 1: rejected (int64), 2: error_message (string) } }
    google.rpc.Status       { 1: code (int32), 2: message (string), 3: details (repeated Any) }
    google.protobuf.Any     { 1: type_url, 2: value }     RetryInfo { 1: retry_delay { 1: seconds } }

Source: opentelemetry-proto docs/specification.md at ac2c4b5 (2026-08-18); google/rpc/status.proto, error_details.proto.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from inferometer.sidecar.refusal import Refusal

PROTOBUF, JSON = "protobuf", "json"
MESSAGE_LIMIT_BYTES = 1024
REJECTED_KEY = {"traces": "rejectedSpans", "logs": "rejectedLogRecords", "metrics": "rejectedDataPoints"}
_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"


@dataclass(slots=True, frozen=True)
class Acceptance:
    """What was taken of a request; ``rejected`` items were not and must not be sent again."""

    items: int
    rejected: int = 0
    message: str = ""


def encode_acceptance(signal: str, acceptance: Acceptance, encoding: str) -> bytes:
    """Return the body of a success, full or partial."""
    message = _shorten(acceptance.message)
    if encoding == JSON:
        if not acceptance.rejected and not message:
            return b"{}"
        partial: dict[str, str] = {}
        if acceptance.rejected:
            partial[REJECTED_KEY[signal]] = str(acceptance.rejected)
        if message:
            partial["errorMessage"] = message
        return json.dumps({"partialSuccess": partial}).encode()
    if not acceptance.rejected and not message:
        return b""
    fields = _varint_field(1, acceptance.rejected) + _bytes_field(2, message.encode())
    return _bytes_field(1, fields)


def encode_refusal(refusal: Refusal, encoding: str) -> bytes:
    """Return a ``google.rpc.Status``; with RetryInfo where the same request may be sent again."""
    message = _shorten(refusal.message)
    delay_s = refusal.retry_after_s
    if encoding == JSON:
        status: dict[str, object] = {"code": refusal.grpc_code, "message": message}
        if delay_s is not None:
            status["details"] = [{"@type": _RETRY_INFO, "retryDelay": f"{delay_s}s"}]
        return json.dumps(status).encode()
    body = _varint_field(1, refusal.grpc_code) + _bytes_field(2, message.encode())
    if delay_s is not None:
        retry_info = _bytes_field(1, _varint_field(1, delay_s))
        body += _bytes_field(3, _bytes_field(1, _RETRY_INFO.encode()) + _bytes_field(2, retry_info))
    return body


def _shorten(message: str) -> str:
    return message.encode()[:MESSAGE_LIMIT_BYTES].decode("utf-8", "ignore")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value if value else b""
