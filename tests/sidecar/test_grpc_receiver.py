from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from google.rpc.status_pb2 import Status

from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Start

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
TOKEN = "a-long-enough-token"
AUTHORIZATION = (("authorization", f"Bearer {TOKEN}"),)


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """An event that happens once the test is over."""
    event = threading.Event()
    yield event
    event.set()


def held_back(event: threading.Event) -> Iterator[bytes]:
    """A message that does not come."""
    event.wait(60)
    yield from ()


def refusal_of(call: grpc.Future) -> tuple[grpc.StatusCode, int]:
    """Return the code of a failed call, and that of its Status."""
    with pytest.raises(grpc.RpcError) as caught:
        call.result(30)
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    return caught.value.code(), Status.FromString(details).code


def test_a_stranger_is_turned_away_before_its_message_is_read(start: Start, never: threading.Event) -> None:
    sidecar = start("--token", TOKEN)
    with sidecar.grpc_channel() as channel:
        begin = time.monotonic()
        call = channel.stream_unary(TRACES).future(held_back(never), timeout=60)
        assert refusal_of(call) == (grpc.StatusCode.UNAUTHENTICATED, 16)
        assert time.monotonic() - begin < 20
        request = build_request()
        assert channel.unary_unary(TRACES)(request.SerializeToString(), metadata=AUTHORIZATION, timeout=20) == b""
    assert sidecar.stop() == 0
    assert set(stored_ids(sidecar.store)) == ids_of(request)


def test_a_message_that_does_not_come_is_not_waited_for_without_end(start: Start, never: threading.Event) -> None:
    # one message is read at a time: four times what may be in flight is what one may be
    bounds = ("--max-request-bytes", "4MiB", "--max-in-flight-bytes", "1MiB")
    sidecar = start("--read-timeout", "2", *bounds)
    with sidecar.grpc_channel() as channel:
        begin = time.monotonic()
        slow = channel.stream_unary(TRACES).future(held_back(never), timeout=60)
        time.sleep(0.5)
        behind = channel.unary_unary(TRACES).future(build_request().SerializeToString(), timeout=60)
        assert refusal_of(slow) == (grpc.StatusCode.DEADLINE_EXCEEDED, 4)
        assert behind.result(30) == b""
        assert 2 <= time.monotonic() - begin < 20
    assert sidecar.stop() == 0


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def headers_of(pairs: dict[bytes, bytes]) -> bytes:
    """Return headers in HPACK, as literals of fewer than 127 bytes."""
    return b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs.items())


def test_metadata_that_cannot_be_read_is_in_no_log_and_the_core_logs_nothing_of_its_own(start: Start) -> None:
    sidecar = start("--token", TOKEN, "--idle-timeout", "1", "--log-level", "debug")
    call = {b":method": b"POST", b":scheme": b"http", b":path": TRACES.encode(), b":authority": b"x"}
    call |= {b"content-type": b"application/grpc", b"te": b"trailers", b"grpc-encoding": b"no-such"}
    call |= {b"authorization": b"Bearer " + TOKEN.encode() + b"\xff"}
    with socket.create_connection(("127.0.0.1", sidecar.grpc_port), timeout=30) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
        connection.sendall(frame(1, 4, 1, headers_of(call)) + frame(0, 1, 1, bytes(5)))
        del call[b"grpc-encoding"]
        connection.sendall(frame(1, 4, 3, headers_of(call)) + frame(0, 1, 3, bytes(5)))
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert b"a valid bearer token is needed" in answer
    assert sidecar.stop() == 0
    assert not any(TOKEN in line for line in sidecar.lines), sidecar.lines
    assert all(json.loads(line) for line in sidecar.lines if not line.startswith("OTLP/")), "other lines than ours"


def test_more_connections_than_are_allowed_are_closed(start: Start) -> None:
    sidecar = start("--max-connections", "8", "--http", "off")
    held = [socket.create_connection(("127.0.0.1", sidecar.grpc_port), timeout=0.5) for _ in range(20)]

    def is_closed(connection: socket.socket) -> bool:
        try:
            return connection.recv(1024) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    with contextlib.ExitStack() as stack:
        for connection in held:
            stack.enter_context(connection)
        assert sum(map(is_closed, held)) >= 12
    assert sidecar.stop() == 0


def test_a_call_without_a_message_is_refused(start: Start) -> None:
    sidecar = start()
    with sidecar.grpc_channel() as channel:
        call = channel.stream_unary(TRACES).future(iter(()), timeout=20)
        assert refusal_of(call) == (grpc.StatusCode.INVALID_ARGUMENT, 3)
    assert sidecar.stop() == 0


def test_senders_that_give_up_leave_nothing_behind(start: Start, never: threading.Event) -> None:
    sidecar = start("--max-request-bytes", "4MiB", "--max-in-flight-bytes", "1MiB")
    with sidecar.grpc_channel() as channel:
        for _ in range(5):
            call = channel.stream_unary(TRACES).future(held_back(never), timeout=60)
            time.sleep(0.05)
            call.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            channel.stream_unary(TRACES)(held_back(never), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert channel.unary_unary(TRACES)(build_request().SerializeToString(), timeout=20) == b""
    assert sidecar.metric("in_flight_bytes") == 0
    assert sidecar.stop() == 0
    assert not any("Traceback" in line for line in sidecar.lines), sidecar.lines
