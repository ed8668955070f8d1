"""The ways a sidecar is asked to stop, and what it was doing then."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import time
from pathlib import Path

import pytest

from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Start


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_every_signal_to_stop_drains_the_journal_into_the_store(start: Start, number: signal.Signals) -> None:
    sidecar = start()
    requests = [build_request(16) for _ in range(5)]
    for request in requests:
        assert sidecar.post(request.SerializeToString()).status == 200
    os.kill(sidecar.process.pid, number)
    os.kill(sidecar.process.pid, number)  # a second one, from someone impatient, breaks nothing
    assert sidecar.stop() == 0
    assert sorted(stored_ids(sidecar.store)) == sorted(set().union(*map(ids_of, requests)))
    assert not any("Traceback" in line for line in sidecar.lines), sidecar.lines


def test_a_destination_that_hangs_does_not_hold_up_the_end(start: Start, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        sidecar = start("--forward", url, "--drain-timeout", "1")
        request = build_request(2)
        assert sidecar.post(request.SerializeToString()).status == 200
        sidecar.wait_until_stored()
        begin = time.monotonic()
        assert sidecar.stop() == 0
        assert time.monotonic() - begin < 20
    assert set(stored_ids(sidecar.store)) == ids_of(request)


def test_a_stop_while_requests_come_in_loses_nothing_that_was_acknowledged(start: Start) -> None:
    sidecar = start()
    acknowledged: set[tuple[bytes, bytes]] = set()
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.http_port, timeout=30)
    with contextlib.closing(connection), contextlib.suppress(ConnectionError):
        for number in range(20):
            if number == 10:
                sidecar.process.send_signal(signal.SIGTERM)
            request = build_request(8)
            headers = {"content-type": "application/x-protobuf"}
            connection.request("POST", "/v1/traces", request.SerializeToString(), headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status in {200, 503}
            if answer.status == 200:
                acknowledged |= ids_of(request)
    assert len(acknowledged) >= 80
    assert sidecar.stop() == 0
    assert acknowledged <= set(stored_ids(sidecar.store))
