from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import make_url

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


def test_a_store_that_shuts_the_sidecar_out_costs_nothing_and_tells_no_password(
    start: Start, tmp_path: Path, postgres_url: str
) -> None:
    """As when a password is changed: requests are taken all the same, and stored once the sidecar may write again."""
    import psycopg
    from psycopg.sql import SQL, Identifier

    acknowledged: Ids = set()
    role = f"agent_{os.getpid()}"
    url = make_url(postgres_url).set(username=role, password="planted-secret")
    with psycopg.connect(postgres_url, autocommit=True) as server:
        server.execute(SQL("CREATE ROLE {} LOGIN PASSWORD 'planted-secret'").format(Identifier(role)))
        server.execute(SQL("GRANT ALL ON SCHEMA public TO {}").format(Identifier(role)))
        sidecar = start(*options(url.render_as_string(hide_password=False), tmp_path))
        for allowed in ("LOGIN", "NOLOGIN", "LOGIN"):
            server.execute(SQL("ALTER ROLE {} " + allowed).format(Identifier(role)))
            server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))
            request = build_request(4)
            assert sidecar.post(request.SerializeToString()).status == 200
            acknowledged |= ids_of(request)
            if allowed == "NOLOGIN":
                sidecar.wait_for(lambda: sidecar.metric("store_failures_total") > 0, "a failure to store")
        sidecar.wait_until_stored()
        assert sidecar.metric("quarantined_total") == 0
        assert sidecar.stop() == 0
        server.execute(SQL("REASSIGN OWNED BY {} TO CURRENT_USER").format(Identifier(role)))
        server.execute(SQL("DROP OWNED BY {}").format(Identifier(role)))
        server.execute(SQL("DROP ROLE {}").format(Identifier(role)))
    assert sorted(stored(postgres_url)) == sorted(acknowledged)
    assert not any("planted-secret" in line for line in sidecar.lines)
