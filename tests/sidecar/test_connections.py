"""However a connection is held, it is let go: nobody keeps a place without making headway."""

from __future__ import annotations

import contextlib
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from inferometer.sidecar.connections import make_room
from inferometer.testing.otlp_requests import build_request
from inferometer.testing.sidecar_process import Running, start_sidecar

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n"
REFUSED = b"POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900000\r\n\r\n"
LOGIN = b"POST /login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 900\r\n\r\ntoken="
PATIENCE_S = 10


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start_sidecar(tmp_path_factory.mktemp("connections"), "--read-timeout", "1", "--idle-timeout", "1")
    yield running
    assert running.stop() == 0
    assert not any("Exception" in line for line in running.lines), running.lines


@contextlib.contextmanager
def connected(sidecar: Running) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=0.2) as connection:
        yield connection


def read_while_dripping(connection: socket.socket, drop: bytes) -> bytes:
    """Send a drop again and again until the other end closes; return what it said until then."""
    said = b""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            piece = connection.recv(65536)
            if not piece:
                return said
            said += piece
        except TimeoutError:
            with contextlib.suppress(OSError):
                connection.sendall(drop)
        except ConnectionResetError:
            return said
    pytest.fail(f"still open after {said!r}")


@pytest.mark.parametrize(
    ("first", "drop", "answer"),
    [
        (b"", b"\r\n", b""),
        (b"GET /healthz HTTP/1.1\r\n", b"x: y\r\n", b""),
        (HEALTH, b"\r\n", b"HTTP/1.1 200"),
        (HEALTH + b"GET /heal", b"x", b"HTTP/1.1 200"),
        (REFUSED, b"x", b"HTTP/1.1 415"),
        (HEALTH.replace(b"\r\n\r\n", b"\r\ncontent-length: 99\r\n\r\n"), b"x", b"HTTP/1.1 200"),
        (LOGIN, b"x", b"HTTP/1.1 408"),
    ],
    ids=["empty-lines", "headers", "empty-lines-after", "second-headers", "refused-body", "unread-body", "login"],
)
def test_bytes_that_come_slowly_keep_no_connection(sidecar: Running, first: bytes, drop: bytes, answer: bytes) -> None:
    with connected(sidecar) as connection:
        connection.sendall(first)
        assert read_while_dripping(connection, drop).startswith(answer)


def test_a_sender_that_leaves_in_the_middle_of_the_login_is_no_fault_of_ours(sidecar: Running) -> None:
    with connected(sidecar) as connection:
        connection.sendall(LOGIN)
    assert sidecar.request("GET", "/healthz").status == 200


def test_answers_that_nobody_reads_are_given_up(sidecar: Running) -> None:
    def ask() -> None:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                connection.sendall(HEALTH.replace(b"/healthz", b"/"))
            time.sleep(0.005)  # one after the other, so that it is the answers that pile up

    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(0.2)
        connection.connect(("127.0.0.1", sidecar.http_port))
        with pytest.raises(ConnectionError):
            ask()


def test_requests_that_run_ahead_of_their_answers_are_cut_off(sidecar: Running) -> None:
    with connected(sidecar) as connection:
        connection.sendall(HEALTH * 1000)
        assert b"HTTP/1.1 400" in read_while_dripping(connection, b"")


def test_requests_of_one_connection_are_answered_in_turn_however_long_it_lasts(sidecar: Running) -> None:
    body = build_request(2).SerializeToString()
    post = (
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n%s"
    )
    with connected(sidecar) as connection:
        connection.settimeout(20)
        for _ in range(4):
            connection.sendall(post % (len(body), body) * 3)
            said = b""
            while said.count(b"HTTP/1.1 200") < 3:
                said += connection.recv(65536)
            time.sleep(0.6)  # longer together than any of the bounds, none of them reached


@pytest.mark.parametrize(
    ("limits", "wanted", "raised_to", "granted"),
    [
        ((1024, 4096), 1000, 2128, 1000),
        ((1024, 2000), 1000, 2000, 936),
        ((1024, resource.RLIM_INFINITY), 5000, 10128, 5000),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 5000, None, 5000),
        ((4096, 4096), 1000, None, 1000),
        ((64, 64), 1000, 64, 1),
    ],
)
def test_room_for_connections_is_made_within_the_machines_limit(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], wanted: int, raised_to: int | None, granted: int
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda _, values: set_to.append(values))
    assert make_room(wanted) == granted
    assert set_to == ([] if raised_to is None else [(raised_to, limits[1])])
