from __future__ import annotations

import contextlib
import socket

import pytest

from inferometer.testing.otlp_requests import build_request
from inferometer.testing.sidecar_process import Start

CHUNKED = (
    b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
)
MIB = 1024 * 1024


def chunk_of(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def test_bodies_that_do_not_say_their_size_count_as_they_grow(start: Start) -> None:
    """Twenty senders of half a body each stay within what may be in flight; who comes too late is put off."""
    sidecar = start("--max-request-bytes", "16MiB", "--max-in-flight-bytes", "32MiB")
    before = sidecar.rss_mb
    said = []
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=20))
            with contextlib.suppress(OSError):
                connection.sendall(CHUNKED)
                for _ in range(12):
                    connection.sendall(chunk_of(bytes(MIB)))
            connection.settimeout(0.5)
            with contextlib.suppress(OSError):
                said.append(connection.recv(1024)[:12])
        assert sidecar.rss_mb - before < 160
        assert said.count(b"HTTP/1.1 503") >= 16
    sidecar.wait_for(lambda: sidecar.post(build_request().SerializeToString()).status == 200)
    assert sidecar.stop() == 0


def test_a_body_of_unknown_size_may_be_as_large_as_any_where_it_is_alone(start: Start) -> None:
    sidecar = start("--max-request-bytes", "4MiB", "--max-in-flight-bytes", "1MiB")
    body = build_request(1, content="x" * (3 * MIB)).SerializeToString()
    with socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=20) as connection:
        connection.sendall(CHUNKED)
        for begin in range(0, len(body), 100_000):
            connection.sendall(chunk_of(body[begin : begin + 100_000]))
        connection.sendall(b"0\r\n\r\n")
        assert connection.recv(1024).startswith(b"HTTP/1.1 200")
    assert sidecar.stop() == 0


@pytest.mark.parametrize("value", [b"{}", b'""'])
def test_a_body_of_endless_small_values_is_refused_before_it_is_read(start: Start, value: bytes) -> None:
    sidecar = start()
    body = b'{"resourceSpans":[' + b",".join([value] * 5_000_000) + b"]}"
    before = sidecar.rss_mb
    answer = sidecar.post(body, content_type="application/json")
    assert answer.status == 413
    assert b"JSON values" in answer.body
    assert sidecar.rss_mb - before < 100  # read, they would be 300 MB and more
    assert sidecar.stop() == 0


def test_a_preflight_of_an_origin_that_may_send_is_answered_without_a_body(start: Start) -> None:
    sidecar = start("--cors-origins", "https://app.example.com")
    answer = sidecar.request("OPTIONS", "/v1/traces", headers={"origin": "https://app.example.com"})
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    answer = sidecar.request("OPTIONS", "/v1/traces", headers={"origin": "https://other.example.com"})
    assert (answer.status, "access-control-allow-origin" in answer.headers) == (405, False)
    assert sidecar.stop() == 0
