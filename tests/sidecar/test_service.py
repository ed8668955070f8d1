from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Start

JSON_REQUEST = {
    "resourceSpans": [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [
                {
                    "scope": {"name": "tests"},
                    "spans": [
                        {
                            "traceId": "5B8EFFF798038103D269B633813FC60C",
                            "spanId": "eee19b7ec3c1b174",
                            "name": "chat gpt-4o",
                            "kind": 3,
                            "startTimeUnixNano": "1760000000000000000",
                            "endTimeUnixNano": 1760000001000000000,
                            "attributes": [
                                {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
                                {"key": "gen_ai.usage.input_tokens", "value": {"intValue": "7"}},
                            ],
                            "unknownField": {"is": "ignored"},
                        }
                    ],
                }
            ],
        }
    ]
}


def run_cli(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "inferometer", "sidecar", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )


def test_protobuf_and_json_are_answered_in_their_own_encoding_and_reach_the_store(start: Start) -> None:
    sidecar = start()
    request = build_request(3)
    answer = sidecar.post(request.SerializeToString())
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == "application/x-protobuf"
    answer = sidecar.post(json.dumps(JSON_REQUEST).encode(), content_type="application/json; charset=utf-8")
    assert (answer.status, answer.body) == (200, b"{}")
    assert answer.headers["content-type"] == "application/json"
    sidecar.wait_until_stored()
    by_json = (bytes.fromhex("5b8efff798038103d269b633813fc60c"), bytes.fromhex("eee19b7ec3c1b174"))
    assert set(stored_ids(sidecar.store)) == ids_of(request) | {by_json}
    assert sidecar.stop() == 0


def test_health_names_the_sidecar(start: Start) -> None:
    sidecar = start()
    document = json.loads(sidecar.request("GET", "/healthz").body)
    assert document["service"] == "inferometer-sidecar"
    assert json.loads(sidecar.request("GET", "/readyz").body)["status"] == "ready"
    assert sidecar.stop() == 0


def test_a_polite_stop_drains_the_journal_into_the_store(start: Start) -> None:
    sidecar = start()
    requests = [build_request(64) for _ in range(20)]
    for request in requests:
        assert sidecar.post(request.SerializeToString()).status == 200
    assert sidecar.stop() == 0
    assert sorted(stored_ids(sidecar.store)) == sorted(set().union(*map(ids_of, requests)))
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=5)


def test_a_port_in_use_is_one_line_that_proposes_another_and_writes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("--http", "--grpc"):
            done = run_cli(option, f"127.0.0.1:{port}", "--store", str(tmp_path / "store.sqlite"))
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1
            assert f"{option} 127.0.0.1:{port}: the port is in use" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_cannot_be_kept_is_told(start: Start) -> None:
    said = "the key of hashes cannot be kept"
    kept = start()
    kept.stop()
    assert not any(said in line for line in kept.lines)
    lost = start(environment={"XDG_DATA_HOME": os.devnull})
    lost.stop()
    assert sum(said in line for line in lost.lines) == 1


def test_a_second_sidecar_on_one_journal_is_refused(start: Start, tmp_path: Path) -> None:
    sidecar = start()
    done = run_cli("--store", str(sidecar.store), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert done.returncode == 2
    assert "another sidecar is using this journal" in done.stderr
    assert sidecar.post(build_request().SerializeToString()).status == 200


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--store", "/nonexistent/folder/store.sqlite"], "folder does not exist"),
        (["--store", "mysql://host/db"], "no writer for 'mysql'"),
        (["--forward", "collector:4318"], "needs a scheme and a host"),
        (["--http", "4318"], "is not HOST:PORT"),
        (["--http", "0.0.0.0:0"], "set --token, or --tls-client-ca for mutual TLS, or --insecure"),
        (["--tls-cert", "/nonexistent.pem", "--tls-key", "/nonexistent.key"], "no such file"),
        (["--token", "short"], "fewer than 8 characters"),
        (["--config", "/nonexistent.toml"], "cannot be read"),
        (["--max-request-bytes", "much"], "not a size such as 64MiB"),
        (["--max-request-bytes", "0"], "is less than 1"),
        (["--min-free-disk-bytes", "-1"], "is less than 0"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(words: list[str], message: str, tmp_path: Path) -> None:
    if "--store" not in words:
        words = ["--store", str(tmp_path / "store.sqlite"), *words]
    done = run_cli("--grpc", "127.0.0.1:0", *(words if "--http" in words else ["--http", "127.0.0.1:0", *words]))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_broken_certificate_is_one_line_and_writes_nothing(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_text("not a certificate")
    done = run_cli(
        *("--store", str(tmp_path / "store.sqlite"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0"),
        *("--tls-cert", str(certificate), "--tls-key", str(certificate)),
    )
    assert done.returncode == 2
    assert "--tls-cert" in done.stderr
    assert list(tmp_path.iterdir()) == [certificate]


def test_a_journal_of_a_newer_version_is_refused_and_no_store_is_made(tmp_path: Path) -> None:
    import sqlite3

    from inferometer.store.journal import Journal

    path = tmp_path / "store.sqlite.journal"
    Journal(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    done = run_cli("--store", str(tmp_path / "store.sqlite"), "--grpc", "127.0.0.1:0", "--http", "127.0.0.1:0")
    assert done.returncode == 2
    assert "newer version" in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["store.sqlite.journal"]


def test_settings_come_from_flags_then_environment_then_file_and_print_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "sidecar.toml"
    config.write_text(
        'http = "127.0.0.1:1"\ngrpc = "127.0.0.1:2"\nmax_request_bytes = "1MiB"\ntoken = "from-the-file"\n'
        '[[forward]]\nurl = "grpc://collector:4317"\nheaders = { "x-key" = "hidden-value" }\n'
        '[[budget]]\nusd_per_day = "12.50"\nwhere = { "tag.team" = "search" }\nwebhook = "https://hooks/hidden"\n'
    )
    monkeypatch.setenv("INFEROMETER_SIDECAR_GRPC", "127.0.0.1:3")
    monkeypatch.setenv("INFEROMETER_SIDECAR_HTTP", "127.0.0.1:4")
    done = run_cli("--config", str(config), "--http", "127.0.0.1:5", "--print-config")
    assert done.returncode == 0, done.stderr
    printed = tomllib.loads(done.stdout)
    assert (printed["http"], printed["grpc"], printed["max_request_bytes"]) == ("127.0.0.1:5", "127.0.0.1:3", 1024**2)
    assert printed["token"] == "********"
    assert printed["forward"][0]["url"] == "grpc://collector:4317"
    assert printed["budget"][0]["usd_per_day"] == "12.50"
    assert "hidden" not in done.stdout
    assert "from-the-file" not in done.stdout


def test_an_unknown_setting_in_the_file_names_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "sidecar.toml"
    config.write_text('max_request_byte = "1MiB"\n')
    done = run_cli("--config", str(config), "--print-config")
    assert done.returncode == 2
    assert "max_request_bytes" in done.stderr


def test_ctrl_c_while_the_normaliser_is_starting_ends_without_a_traceback(start: Start) -> None:
    sidecar = start()
    assert sidecar.interrupt() == 0
    said = "\n".join(sidecar.lines)
    assert "Traceback" not in said
    assert "starting it again" not in said
