"""Sends one request to one destination, over OTLP/HTTP or OTLP/gRPC, and says how it went."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from inferometer.schema.errors import UserError
from inferometer.sidecar.answer import JSON, PROTOBUF
from inferometer.sidecar.settings import Forward

RETRYABLE_HTTP = frozenset({429, 502, 503, 504})
RETRYABLE_GRPC = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"})
ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
_CONTENT_TYPE = {PROTOBUF: "application/x-protobuf", JSON: "application/json"}
_SERVICE = {"traces": "trace.v1.Trace", "logs": "logs.v1.Logs", "metrics": "metrics.v1.Metrics"}


@dataclass(slots=True, frozen=True)
class Parcel:
    """One request on its way; gRPC takes only uncompressed protobuf."""

    signal: str
    encoding: str
    compression: str
    body: bytes


@dataclass(slots=True, frozen=True)
class Delivery:
    """How it went.

    Args:
        is_taken: the destination has it, but for ``rejected`` items.
        retry_after_s: it may have it later; None where it never will, or has it.
        reason: why not.
    """

    is_taken: bool
    rejected: int = 0
    retry_after_s: float | None = None
    reason: str = ""


class Sender(Protocol):
    """A connection to one destination."""

    def send(self, parcel: Parcel) -> Delivery:
        """Send a request and wait for the answer; never raises."""

    def close(self) -> None:
        """Close the connection."""


def open_sender(forward: Forward) -> Sender:
    """Return the sender of a destination; it connects when it first sends.

    Raises:
        UserError: a certificate cannot be used.
    """
    return HttpSender(forward) if urlsplit(forward.url).scheme in {"http", "https"} else GrpcSender(forward)


class HttpSender:
    """OTLP/HTTP over one connection that is kept open."""

    def __init__(self, forward: Forward) -> None:
        parts = urlsplit(forward.url)
        assert parts.hostname is not None
        self._base = parts.path.rstrip("/")
        self._headers = dict(forward.headers)
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(
                parts.hostname, parts.port, timeout=forward.timeout_s, context=_client_context(forward)
            )
        else:
            self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=forward.timeout_s)

    def send(self, parcel: Parcel) -> Delivery:
        """Send a request and wait for the answer."""
        headers = {**self._headers, "content-type": _CONTENT_TYPE[parcel.encoding]}
        if parcel.compression != "identity":
            headers["content-encoding"] = parcel.compression
        path = f"{self._base}/v1/{parcel.signal}"
        # a connection that was kept may have been closed at the other end meanwhile, which says nothing about now
        tries = 1 if self._connection.sock is None else 2
        while True:
            tries -= 1
            try:
                self._connection.request("POST", path, parcel.body, headers)
                response = self._connection.getresponse()
                answer = response.read(ANSWER_LIMIT_BYTES)
                break
            except (OSError, http.client.HTTPException, ValueError) as error:
                # the next request opens a new connection
                self._connection.close()
                if not (tries and isinstance(error, ConnectionError)):
                    return Delivery(False, retry_after_s=0, reason=type(error).__name__)
        if response.getheader("connection", "").lower() == "close" or not response.isclosed():
            self._connection.close()
        if 200 <= response.status < 300:
            return Delivery(True, _rejected(parcel.signal, answer, response.getheader("content-type", "")))
        reason = f"HTTP {response.status}"
        if response.status in RETRYABLE_HTTP:
            return Delivery(False, retry_after_s=_seconds(response.getheader("retry-after")), reason=reason)
        return Delivery(False, reason=reason)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class GrpcSender:
    """OTLP/gRPC over one channel."""

    def __init__(self, forward: Forward) -> None:
        import grpc  # type: ignore[import-untyped]

        target = str(forward.address)
        options = (("grpc.max_receive_message_length", ANSWER_LIMIT_BYTES), ("grpc.enable_retries", 0))
        if urlsplit(forward.url).scheme == "grpcs":
            self._channel = grpc.secure_channel(target, _channel_credentials(forward), options)
        else:
            self._channel = grpc.insecure_channel(target, options)
        self._metadata = tuple((key.lower(), value) for key, value in forward.headers)
        self._timeout_s = forward.timeout_s
        self._exports: dict[str, Any] = {
            signal: self._channel.unary_unary(f"/opentelemetry.proto.collector.{name}Service/Export")
            for signal, name in _SERVICE.items()
        }

    def send(self, parcel: Parcel) -> Delivery:
        """Send a request and wait for the answer."""
        import grpc

        assert parcel.encoding == PROTOBUF
        try:
            answer = self._exports[parcel.signal](parcel.body, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            name = error.code().name
            delay_s = _retry_info_s(error)
            if name in RETRYABLE_GRPC or (name == "RESOURCE_EXHAUSTED" and delay_s is not None):
                return Delivery(False, retry_after_s=delay_s or 0, reason=name)
            return Delivery(False, reason=name)
        return Delivery(True, _rejected(parcel.signal, answer, _CONTENT_TYPE[PROTOBUF]))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()


def _rejected(signal: str, answer: bytes, content_type: str) -> int:
    """Return how many items a partial success says were left out."""
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    if not answer:
        return 0
    try:
        if content_type.startswith(_CONTENT_TYPE[JSON]):
            partial = json.loads(answer).get("partialSuccess") or {}
            return sum(int(value) for key, value in partial.items() if key.startswith("rejected"))
        # the three responses have the same fields on the wire
        return int(ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans)
    except (DecodeError, ValueError, AttributeError, TypeError):
        return 0


def _seconds(retry_after: str | None) -> float:
    """Return the seconds of a Retry-After header, a number or a date; 0 where there is none."""
    if retry_after is None:
        return 0
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except (ValueError, OverflowError):
        return 0
    import time

    return max(moment.timestamp() - time.time(), 0)


def _retry_info_s(error: Any) -> float | None:
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
    from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        try:
            for detail in Status.FromString(value).details:
                if detail.Is(RetryInfo.DESCRIPTOR):
                    delay = RetryInfo.FromString(detail.value).retry_delay
                    return float(delay.seconds + delay.nanos / 1e9)
        except DecodeError:
            return None
    return None


def _client_context(forward: Forward) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=forward.ca)
        if forward.cert:
            context.load_cert_chain(forward.cert, forward.key, password="")
    except (ssl.SSLError, OSError) as error:
        raise UserError(f"forward {forward.url}: its certificates cannot be used ({error})") from error
    return context


def _channel_credentials(forward: Forward) -> Any:
    import grpc

    # gRPC itself says nothing about files that it cannot use
    _client_context(forward)
    key = forward.key or forward.cert
    ca, key_pem, cert = (Path(path).read_bytes() if path else None for path in (forward.ca, key, forward.cert))
    return grpc.ssl_channel_credentials(ca, key_pem, cert)
