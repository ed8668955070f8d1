from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from inferometer.testing.otlp_requests import build_request, ids_of
from inferometer.testing.postgresql import Server
from inferometer.testing.sidecar_process import Running, Start

pytestmark = pytest.mark.postgres

Ids = set[tuple[bytes, bytes]]


def stored(url: str) -> list[tuple[bytes, bytes]]:
    import psycopg

    with psycopg.connect(url) as connection:
        return [(bytes(row[0]), bytes(row[1])) for row in connection.execute("SELECT trace_id, span_id FROM spans")]


def options(url: str, folder: Path) -> tuple[str, ...]:
    return ("--store", url, "--journal", str(folder / "store.sqlite.journal"))


def sending(sidecar: Running, acknowledged: Ids, stop: threading.Event) -> list[threading.Thread]:
    def send() -> None:
        while not stop.is_set():
            request = build_request(16, attributes={"text": "nul \0 and more"})
            try:
                answer = sidecar.post(request.SerializeToString())
            except OSError:
                return
            if answer.status == 200:
                acknowledged.update(ids_of(request))

    threads = [threading.Thread(target=send, name=f"sender-{number}") for number in range(3)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("wait_s", [0.4, 0.9])
def test_after_a_kill_under_load_every_acknowledged_span_is_there_once(
    start: Start, tmp_path: Path, postgres_url: str, wait_s: float
) -> None:
    acknowledged: Ids = set()
    sidecar = start(*options(postgres_url, tmp_path))
    threads = sending(sidecar, acknowledged, threading.Event())
    time.sleep(wait_s)
    sidecar.kill()
    for thread in threads:
        thread.join()
    again = start(*options(postgres_url, tmp_path))
    again.wait_until_stored()
    assert again.stop() == 0
    found = stored(postgres_url)
    assert len(found) == len(set(found))
    assert acknowledged
    assert acknowledged <= set(found)


def test_a_server_that_is_restarted_under_load_costs_nothing(
    start: Start, tmp_path: Path, postgres_url: str, postgres_server: Server
) -> None:
    acknowledged: Ids = set()
    stop = threading.Event()
    sidecar = start(*options(postgres_url, tmp_path))
    threads = sending(sidecar, acknowledged, stop)
    try:
        time.sleep(0.5)
        postgres_server.stop("immediate")
        before = len(acknowledged)
        sidecar.wait_for(lambda: len(acknowledged) > before, "acknowledgements while the server is away")
        sidecar.wait_for(lambda: sidecar.metric("store_failures_total") > 0, "a failure to store")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        postgres_server.start()
    sidecar.wait_until_stored()
    assert sidecar.metric("quarantined_total") == 0
    assert sidecar.stop() == 0
    found = stored(postgres_url)
    assert len(found) == len(set(found))
    assert acknowledged <= set(found)
