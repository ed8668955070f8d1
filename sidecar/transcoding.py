"""OTLP/JSON to protobuf, for destinations that speak gRPC alone.

Google's JSON mapping is OTLP's but for ids, which OTLP writes in hexadecimal and it expects in base64.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from inferometer.sidecar.envelope import message_type
from inferometer.sidecar.refusal import Refusal

_IDS = frozenset({"traceId", "spanId", "parentSpanId"})


def to_message(signal: str, body: bytes) -> Any:
    """Return the protobuf message of an OTLP/JSON request.

    Raises:
        Refusal: it is not one.
    """
    from google.protobuf.json_format import ParseDict, ParseError  # type: ignore[import-untyped]

    try:
        document = _with_base64_ids(json.loads(body or b"{}"))
        return ParseDict(document, message_type(signal)(), ignore_unknown_fields=True)
    except (ParseError, ValueError, binascii.Error, RecursionError) as error:
        raise Refusal.malformed(f"the body is not an OTLP {signal} request in JSON") from error


def to_protobuf(signal: str, body: bytes) -> bytes:
    """Return the protobuf bytes of an OTLP/JSON request.

    Raises:
        Refusal: it is not one.
    """
    return bytes(to_message(signal, body).SerializeToString())


def _with_base64_ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode()
        if key in _IDS and isinstance(item, str)
        else _with_base64_ids(item)
        for key, item in value.items()
    }
