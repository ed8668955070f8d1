"""Destinations that misbehave: each way ends in a delivery that says how it went, never in an exception."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest

from inferometer.sidecar.sender import Delivery, Parcel, Sender, open_sender
from inferometer.sidecar.settings import Forward

PARCEL = Parcel("traces", "protobuf", "identity", b"body")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Destination:
    """Answers each request of each connection with the next of the given bytes; None closes the connection."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, name="destination")
        self._thread.start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.settimeout(10)
                while self._answer(connection):
                    pass
            if not self.answers:
                return

    def _answer(self, connection: socket.socket) -> bool:
        request = b""
        while not request.endswith(b"\r\n\r\nbody"):
            piece = connection.recv(65536)
            if not piece:
                return False
            request += piece
        self.requests += 1
        answer = self.answers.pop(0)
        if answer is None:
            return False
        connection.sendall(answer)
        return bool(self.answers) and b"close" not in answer

    def close(self) -> None:
        self.answers.clear()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        self._thread.join()
        self._listener.close()


@contextlib.contextmanager
def sending(*answers: bytes | None, timeout_s: float = 5) -> Iterator[tuple[Sender, Destination]]:
    destination = Destination(*answers)
    sender = open_sender(Forward(f"http://127.0.0.1:{destination.port}", timeout_s=timeout_s))
    try:
        yield sender, destination
    finally:
        sender.close()
        destination.close()


def answer(status: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} Said", *headers, "content-length: 0", "", ""]).encode()


@pytest.mark.parametrize(
    ("said", "delivery"),
    [
        (answer(200), Delivery(True)),
        (answer(202), Delivery(True)),
        (answer(429, "retry-after: 7"), Delivery(False, retry_after_s=7, reason="HTTP 429")),
        (answer(503), Delivery(False, retry_after_s=0, reason="HTTP 503")),
        (answer(503, "retry-after: soon"), Delivery(False, retry_after_s=0, reason="HTTP 503")),
        (answer(503, "retry-after: -3"), Delivery(False, retry_after_s=0, reason="HTTP 503")),
        (answer(502, "retry-after: " + "9" * 400), Delivery(False, retry_after_s=float("inf"), reason="HTTP 502")),
        (answer(307, "location: http://elsewhere.example/"), Delivery(False, reason="HTTP 307")),
        (answer(401), Delivery(False, reason="HTTP 401")),
        (answer(413), Delivery(False, reason="HTTP 413")),
        (b"not http at all\r\n\r\n", Delivery(False, retry_after_s=0, reason="BadStatusLine")),
        (None, Delivery(False, retry_after_s=0, reason="RemoteDisconnected")),
    ],
)
def test_every_answer_is_taken_retried_or_refused_as_the_specification_says(
    said: bytes | None, delivery: Delivery
) -> None:
    with sending(said) as (sender, _):
        assert sender.send(PARCEL) == delivery


def test_a_date_to_retry_after_is_counted_from_now() -> None:
    with sending(answer(503, f"retry-after: {formatdate(time.time() + 100, usegmt=True)}")) as (sender, _):
        delay_s = sender.send(PARCEL).retry_after_s
    assert delay_s is not None
    assert 90 < delay_s <= 100


def test_a_destination_that_hangs_is_waited_for_no_longer_than_its_timeout() -> None:
    with sending(b"", b"", timeout_s=0.3) as (sender, _):
        begin = time.monotonic()
        assert sender.send(PARCEL) == Delivery(False, retry_after_s=0, reason="TimeoutError")
        assert time.monotonic() - begin < 5


def test_a_connection_that_was_closed_while_it_rested_costs_no_retry() -> None:
    with sending(OK, None, OK) as (sender, destination):
        assert sender.send(PARCEL) == Delivery(True)
        assert sender.send(PARCEL) == Delivery(True)
        assert destination.requests == 3


def test_an_answer_that_is_too_long_is_not_read_as_the_next() -> None:
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\n" + bytes(5_000_000)
    with sending(large, answer(400)) as (sender, _):
        assert sender.send(PARCEL) == Delivery(True)
        assert sender.send(PARCEL) == Delivery(False, reason="HTTP 400")


@pytest.mark.parametrize("url", ["http://" + "a" * 70 + ".example", "http://no-such-host.invalid", "grpc://[::1]:1"])
def test_a_destination_that_is_nowhere_may_be_there_later(url: str) -> None:
    sender = open_sender(Forward(url, timeout_s=1))
    delivery = sender.send(PARCEL)
    sender.close()
    assert not delivery.is_taken
    assert delivery.retry_after_s == 0


def test_a_grpc_destination_of_an_ipv6_address_is_reached() -> None:
    from concurrent import futures

    import grpc

    handler = grpc.method_handlers_generic_handler(
        "opentelemetry.proto.collector.trace.v1.TraceService",
        {"Export": grpc.unary_unary_rpc_method_handler(lambda body, _: b"" if body == b"body" else None)},
    )
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[handler])
    try:
        port = server.add_insecure_port("[::1]:0")
    except RuntimeError:
        pytest.skip("this machine has no IPv6")
    server.start()
    sender = open_sender(Forward(f"grpc://[::1]:{port}"))
    try:
        assert sender.send(PARCEL) == Delivery(True)
    finally:
        sender.close()
        server.stop(0).wait()
