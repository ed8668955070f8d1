from __future__ import annotations

import contextlib
import gzip
import http.server
import json
import logging
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from inferometer.sidecar import forwarder as module
from inferometer.sidecar.counters import Counters
from inferometer.sidecar.forwarder import Forwarder, register_forwards
from inferometer.sidecar.sender import Delivery, Parcel
from inferometer.sidecar.settings import Forward, Settings
from inferometer.store.journal import Journal, NewEntry
from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Start


class Destination(http.server.ThreadingHTTPServer):
    """Answers what it is told to and keeps what came."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.statuses: list[int] = []
        self.answer = b""
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.thread = threading.Thread(target=self.serve_forever, name="destination")
        self.thread.start()

    def spans(self) -> set[tuple[bytes, bytes]]:
        found: set[tuple[bytes, bytes]] = set()
        for _, _, body in self.received:
            found |= ids_of(ExportTraceServiceRequest.FromString(body))
        return found


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Destination

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.received.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        pass


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[Destination]:
    with Destination(port) as destination:
        yield destination
        destination.shutdown()
        destination.thread.join()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_requests_are_passed_on_as_they_were_sent_with_the_headers_of_the_destination(start: Start) -> None:
    with serving() as destination:
        url = f"http://127.0.0.1:{destination.server_port}/base"
        sidecar = start("--forward", url, "--forward-header", "x-key=secret")
        body = build_request(3, content="what was said").SerializeToString()
        packed = gzip.compress(body)
        assert sidecar.post(body).status == 200
        assert sidecar.post(packed, content_encoding="gzip").status == 200
        assert sidecar.post(zstandard.compress(body), content_encoding="zstd").status == 200
        sidecar.wait_for(lambda: len(destination.received) == 3)
        assert sidecar.stop() == 0
    (path, headers, first), (_, _, second), (_, third_headers, third) = destination.received
    assert (path, headers["x-key"], headers["content-type"]) == ("/base/v1/traces", "secret", "application/x-protobuf")
    assert (first, second) == (body, packed)
    assert (third_headers["content-encoding"], gzip.decompress(third)) == ("gzip", body)
    assert not any("secret" in line for line in sidecar.lines)


def test_a_destination_that_was_down_catches_up_after_a_restart_too(start: Start, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    requests = [build_request(2) for _ in range(6)]
    sidecar = start("--forward", url)
    for request in requests[:3]:
        assert sidecar.post(request.SerializeToString()).status == 200
    sidecar.wait_for(lambda: sidecar.metric("forward_lag_bytes") > 0)
    sidecar.wait_for(lambda: sidecar.metric("stored_spans_total") == 6, "the store goes on")
    sidecar.kill()
    again = start("--forward", url)
    for request in requests[3:]:
        assert again.post(request.SerializeToString()).status == 200
    with serving(port) as destination:
        wanted = set().union(*map(ids_of, requests))
        again.wait_for(lambda: destination.spans() == wanted, "everything at the destination")
        again.wait_for(lambda: again.metric("forward_lag_bytes") == 0)
        assert again.stop() == 0
    assert list((tmp_path / "store.sqlite.journal.d").iterdir()) == []


def test_what_is_put_off_is_sent_again_and_what_is_refused_is_kept_and_counted(start: Start, tmp_path: Path) -> None:
    with serving() as destination:
        destination.statuses = [503, 429, 200, 400]
        destination.answer = ExportTraceServiceResponse(
            partial_success=ExportTracePartialSuccess(rejected_spans=1, error_message="no")
        ).SerializeToString()
        sidecar = start("--forward", f"http://127.0.0.1:{destination.server_port}")
        first, refused, last = (build_request(2) for _ in range(3))
        for request in (first, refused, last):
            assert sidecar.post(request.SerializeToString()).status == 200
            time.sleep(0.05)
        sidecar.wait_for(lambda: destination.spans() == ids_of(first) | ids_of(last))
        sidecar.wait_for(lambda: sidecar.metric("forwarded_requests_total") == 2)
        assert sidecar.metric("forward_retries_total") == 2
        assert sidecar.metric("forward_refused_total") == 1
        assert sidecar.metric("forward_rejected_items_total") == 2
        assert sidecar.stop() == 0
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite.journal")) as connection:
        (reason, body) = connection.execute("SELECT reason, body FROM quarantine").fetchone()
    assert reason == "HTTP 400"
    assert ids_of(ExportTraceServiceRequest.FromString(body)) == ids_of(refused)


def test_two_destinations_do_not_wait_for_each_other(start: Start) -> None:
    with serving() as destination:
        sidecar = start(
            "--forward", f"http://127.0.0.1:{destination.server_port}", "--forward", f"http://127.0.0.1:{free_port()}"
        )
        request = build_request(2)
        assert sidecar.post(request.SerializeToString()).status == 200
        sidecar.wait_for(lambda: destination.spans() == ids_of(request))
        assert sidecar.stop() == 0


def test_a_full_backlog_drops_the_oldest_of_that_destination_alone(start: Start) -> None:
    sidecar = start("--forward", f"http://127.0.0.1:{free_port()}", "--max-journal-bytes", "200k")
    requests = [build_request(1, content="x" * 20_000) for _ in range(30)]
    for request in requests:
        sidecar.wait_for(lambda request=request: sidecar.post(request.SerializeToString()).status == 200)
    sidecar.wait_until_stored()
    assert set(stored_ids(sidecar.store)) == set().union(*map(ids_of, requests))
    sidecar.wait_for(lambda: sidecar.metric("forward_dropped_total") > 0)
    assert sidecar.stop() == 0


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_one_sidecar_in_front_of_another(start: Start, tmp_path: Path, scheme: str) -> None:
    (tmp_path / "behind").mkdir()
    behind = start(folder=tmp_path / "behind")
    port = behind.grpc_port if scheme == "grpc" else behind.http_port
    front = start("--forward", f"{scheme}://127.0.0.1:{port}")
    request = build_request(4)
    assert front.post(request.SerializeToString()).status == 200
    span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat"}
    document = {"resourceSpans": [{"scopeSpans": [{"scope": {"name": "s"}, "spans": [span]}]}]}
    assert front.post(json.dumps(document).encode(), content_type="application/json").status == 200
    wanted = ids_of(request) | {(bytes.fromhex(span["traceId"]), bytes.fromhex(span["spanId"]))}
    behind.wait_for(lambda: set(stored_ids(behind.store)) == wanted)
    front.wait_until_stored()
    assert set(stored_ids(front.store)) == wanted
    assert front.stop() == 0
    assert behind.stop() == 0
    with contextlib.closing(sqlite3.connect(behind.store)) as connection:
        scopes = {row[0] for row in connection.execute("SELECT scope FROM spans")}
        services = {row[0] for row in connection.execute("SELECT service FROM resources")}
    assert scopes == {"tests.sidecar", "s"}
    assert "shop" in services


def test_content_is_stripped_for_destinations_where_asked(start: Start) -> None:
    with serving() as destination:
        sidecar = start("--forward", f"http://127.0.0.1:{destination.server_port}", "--forward-content", "drop")
        request = build_request(2, content="planted-secret", attributes={"team": "search"})
        assert sidecar.post(request.SerializeToString()).status == 200
        sidecar.wait_for(lambda: destination.spans() == ids_of(request))
        assert sidecar.stop() == 0
    body = destination.received[0][2]
    assert b"planted-secret" not in body
    assert b"search" in body
    assert b"gen_ai.usage.input_tokens" in body


class Moody:
    """A sender that answers what it is told to, and takes everything after that."""

    def __init__(self, *moods: Delivery | Exception) -> None:
        self._moods = list(moods)
        self.sent: list[bytes] = []

    def send(self, parcel: Parcel) -> Delivery:
        mood = self._moods.pop(0) if self._moods else Delivery(True)
        if isinstance(mood, Exception):
            raise mood
        if mood.is_taken:
            self.sent.append(parcel.body)
        return mood

    def close(self) -> None:
        pass


def test_nothing_that_a_destination_does_ends_its_forwarder(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does it wait for ever where it is asked to; an outage is told once, and so is its end."""
    ages = Delivery(False, retry_after_s=float("inf"), reason="HTTP 503")
    sender = Moody(ValueError("whatever"), ages, ages, Delivery(False, retry_after_s=-1e9, reason="UNAVAILABLE"))
    monkeypatch.setattr(module, "open_sender", lambda _: sender)
    for name in ("FIRST_WAIT_S", "MAX_WAIT_S", "MAX_ASKED_S", "IDLE_WAIT_S"):
        monkeypatch.setattr(module, name, 0.01)
    settings = Settings(forward=(Forward("http://collector:4318"),))
    register_forwards(journal, settings.forward)
    bodies = [build_request().SerializeToString() for _ in range(3)]
    journal.append([NewEntry("traces", "protobuf", "identity", 1, body, 1) for body in bodies])
    forwarder = Forwarder(settings.forward[0], settings, journal.path, Counters())
    with caplog.at_level(logging.INFO, "inferometer.sidecar"):
        forwarder.start()
        deadline = time.monotonic() + 30
        while len(sender.sent) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        forwarder.stop()
        forwarder.join(30)
    assert sender.sent == bodies
    assert caplog.messages.count("a request cannot be passed on just now") == 1
    assert caplog.messages.count("destination takes nothing; trying again") == 1
    assert caplog.messages.count("destination answers again") == 1
