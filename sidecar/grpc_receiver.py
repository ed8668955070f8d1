"""OTLP/gRPC: one generic handler that takes a request's bytes as they are.

gRPC's own decompression is switched off: it has no bound before the whole message is in memory. A compressed message
then arrives as sent, and since every OTLP request begins with the byte 0x0a, the first byte tells what it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]

from inferometer.sidecar.answer import PROTOBUF, encode_acceptance, encode_refusal
from inferometer.sidecar.compression import IDENTITY
from inferometer.sidecar.intake import Intake
from inferometer.sidecar.refusal import DEADLINE_EXCEEDED, INTERNAL, Refusal
from inferometer.sidecar.security import Guard
from inferometer.sidecar.settings import Settings, in_use

SIGNAL_OF_METHOD = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
}
MAX_METADATA_BYTES = 64 * 1024
LOOKAHEAD_BYTES = 256 * 1024
"""What gRPC takes of a message before it is asked for; left to its own measure it takes tens of megabytes a call."""

MAX_STREAMS = 256
READING_FACTOR = 4
"""How far the messages that are being read may go over what may be in flight: most are far from the largest allowed."""
_STATUS_DETAILS = "grpc-status-details-bin"
_CODES = {code.value[0]: code for code in grpc.StatusCode}

log = logging.getLogger("inferometer.sidecar")

Export = Callable[[Any, Any], Awaitable[bytes]]


class GrpcReceiver(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers the ``Export`` methods of the three OTLP services.

    To the sender they are unary, as specified. Here they are handlers of a stream, since only those are asked before
    the message is read: gRPC would otherwise hold the messages of everyone, whoever they are and however slow.
    """

    def __init__(self, intake: Intake, guard: Guard) -> None:
        self._intake = intake
        self._guard = guard
        at_once = READING_FACTOR * intake.settings.max_in_flight_bytes // intake.settings.max_request_bytes
        self._reading = asyncio.Semaphore(max(at_once, 1))
        self._handlers = {
            method: grpc.stream_unary_rpc_method_handler(self._exporter(signal))
            for method, signal in SIGNAL_OF_METHOD.items()
        }

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method; None where it is none of ours."""
        return self._handlers.get(handler_call_details.method)

    def _exporter(self, signal: str) -> Export:
        async def export(_: Any, context: Any) -> bytes:
            try:
                return await self._take(signal, context)
            except Refusal as error:
                refusal = error
            except Exception:
                log.exception("request failed", extra={"signal": signal})
                refusal = Refusal.unavailable("internal", "the sidecar failed; its log says why")
            self._intake.counters.add("refused_requests_total", reason=refusal.reason, transport="grpc")
            details = ((_STATUS_DETAILS, encode_refusal(refusal, PROTOBUF)),)
            await context.abort(_CODES.get(refusal.grpc_code, _CODES[INTERNAL]), refusal.message, details)
            raise AssertionError("abort raises")

        return export

    async def _take(self, signal: str, context: Any) -> bytes:
        if self._guard.is_set:
            metadata = dict(context.invocation_metadata() or ())
            authorization = metadata.get("authorization")
            self._guard.check(authorization.encode() if isinstance(authorization, str) else authorization)
        body = await self._read(context)
        with self._intake.admit(len(body)):
            acceptance = await self._intake.accept(signal, PROTOBUF, compression_of(body), body)
        return encode_acceptance(signal, acceptance, PROTOBUF)

    async def _read(self, context: Any) -> bytes:
        """Return a call's one message."""
        try:
            async with asyncio.timeout(self._intake.settings.read_timeout_s), self._reading:
                body = await context.read()
        except TimeoutError:
            raise Refusal(408, DEADLINE_EXCEEDED, "slow", "the request did not come in time") from None
        if not isinstance(body, bytes):
            raise Refusal.malformed("the call has no message")
        return body


def compression_of(body: bytes) -> str:
    """Return how a message is compressed, by its first bytes; no OTLP request begins like gzip or zlib do."""
    if body[:2] == b"\x1f\x8b":
        return "gzip"
    if body[:1] == b"\x78" and len(body) > 1 and (body[0] << 8 | body[1]) % 31 == 0:
        return "deflate"
    return IDENTITY


def build_server(settings: Settings, intake: Intake, guard: Guard, max_connections: int) -> tuple[grpc.aio.Server, int]:
    """Return a server that is bound and not started, and its port.

    Raises:
        UserError: the address cannot be bound.
    """
    address = settings.grpc_address
    assert address is not None
    options = (
        ("grpc.max_receive_message_length", settings.max_request_bytes),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_concurrent_streams", MAX_STREAMS),
        ("grpc.max_allowed_incoming_connections", max_connections),
        ("grpc.max_connection_idle_ms", int(settings.idle_timeout_s * 1000)),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.per_message_decompression", 0),
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", LOOKAHEAD_BYTES),
        ("grpc.so_reuseport", 0),
        ("grpc.server_handshake_timeout_ms", int(settings.read_timeout_s * 1000)),
    )
    server = grpc.aio.server(handlers=[GrpcReceiver(intake, guard)], options=options)
    try:
        if settings.tls_cert:
            port = server.add_secure_port(str(address), _credentials(settings))
        else:
            port = server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise in_use(address, "--grpc") from error
    if port == 0:
        raise in_use(address, "--grpc")
    return server, port


def _credentials(settings: Settings) -> Any:
    assert settings.tls_cert is not None
    assert settings.tls_key is not None
    pair = (Path(settings.tls_key).read_bytes(), Path(settings.tls_cert).read_bytes())
    ca = Path(settings.tls_client_ca).read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=ca is not None)
