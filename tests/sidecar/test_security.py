from __future__ import annotations

import http.client
import ssl
import subprocess
from pathlib import Path

import grpc
import pytest

from inferometer.schema.errors import UserError
from inferometer.sidecar import service
from inferometer.sidecar.refusal import Refusal
from inferometer.sidecar.security import Guard, check_certificates
from inferometer.sidecar.settings import Forward, Settings
from inferometer.testing.otlp_requests import build_request
from inferometer.testing.sidecar_process import Start

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two CAs, a server certificate and a client certificate of the first, a client certificate of the second."""
    folder = tmp_path_factory.mktemp("pki")
    for ca in ("ca", "other"):
        openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={ca}"),
            *("-addext", "keyUsage=critical,keyCertSign"),  # strict verification, Python's default from 3.13 on
            *("-keyout", str(folder / f"{ca}.key"), "-out", str(folder / f"{ca}.pem")),
        )
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name, ca in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        request = str(folder / f"{name}.csr")
        key = str(folder / f"{name}.key")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        openssl(
            *("x509", "-req", "-in", request, "-days", "2", "-CAcreateserial", "-extfile", str(folder / "names")),
            *(
                "-CA",
                str(folder / f"{ca}.pem"),
                "-CAkey",
                str(folder / f"{ca}.key"),
                "-out",
                str(folder / f"{name}.pem"),
            ),
        )
    return folder


def test_mutual_tls_lets_in_only_holders_of_a_certificate_of_the_ca(start: Start, pki: Path) -> None:
    sidecar = start(
        *("--tls-cert", str(pki / "server.pem"), "--tls-key", str(pki / "server.key")),
        *("--tls-client-ca", str(pki / "ca.pem")),
    )
    body = build_request().SerializeToString()

    def over_http(client: str | None) -> int:
        context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        if client:
            context.load_cert_chain(pki / f"{client}.pem", pki / f"{client}.key")
        connection = http.client.HTTPSConnection("127.0.0.1", sidecar.http_port, context=context, timeout=20)
        try:
            connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
            return connection.getresponse().status
        finally:
            connection.close()

    def over_grpc(client: str | None) -> bytes:
        read = (lambda end: (pki / f"{client}.{end}").read_bytes()) if client else (lambda _: None)
        credentials = grpc.ssl_channel_credentials((pki / "ca.pem").read_bytes(), read("key"), read("pem"))
        with grpc.secure_channel(f"localhost:{sidecar.grpc_port}", credentials) as channel:
            answer: bytes = channel.unary_unary(TRACES)(body, timeout=20)
            return answer

    assert over_http("client") == 200
    assert over_grpc("client") == b""
    for nobody in (None, "stranger"):
        with pytest.raises((ssl.SSLError, OSError)):
            over_http(nobody)
        with pytest.raises(grpc.RpcError):
            over_grpc(nobody)
    assert sidecar.stop() == 0


def test_a_key_with_a_pass_phrase_is_refused_rather_than_asked_about(pki: Path, tmp_path: Path) -> None:
    key = tmp_path / "locked.key"
    openssl("rsa", "-aes256", "-passout", "pass:secret", "-in", str(pki / "server.key"), "-out", str(key))
    with pytest.raises(UserError, match="pass phrase"):
        check_certificates(Settings(tls_cert=str(pki / "server.pem"), tls_key=str(key)))


@pytest.mark.parametrize("url", ["https://collector", "grpcs://collector"])
def test_certificates_of_a_destination_are_looked_at_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(service, "configure_logging", lambda *_: None)  # it is for a process of its own
    (tmp_path / "ca.pem").write_text("not a certificate")
    settings = Settings(
        store=str(tmp_path / "store.sqlite"),
        grpc="127.0.0.1:0",
        http="127.0.0.1:0",
        forward=(Forward(url, ca=str(tmp_path / "ca.pem")),),
    )
    with pytest.raises(UserError, match="certificates cannot be used"):
        service.run_sidecar(settings, lambda _: None)
    assert [file.name for file in tmp_path.iterdir()] == ["ca.pem"]


def test_a_forward_over_tls_trusts_only_its_ca(start: Start, tmp_path: Path, pki: Path) -> None:
    (tmp_path / "behind").mkdir()
    tls = ("--tls-cert", str(pki / "server.pem"), "--tls-key", str(pki / "server.key"))
    behind = start(*tls, "--token", "a-long-enough-token", folder=tmp_path / "behind")
    config = tmp_path / "front.toml"
    config.write_text(
        "".join(
            f'[[forward]]\nurl = "{url}"\nca = "{pki}/{ca}.pem"\n'
            'headers = { authorization = "Bearer a-long-enough-token" }\n'
            for url, ca in (
                (f"https://127.0.0.1:{behind.http_port}", "ca"),
                (f"grpcs://localhost:{behind.grpc_port}", "ca"),
                (f"https://localhost:{behind.http_port}", "other"),
            )
        )
    )
    front = start("--config", str(config), "--drain-timeout", "2")
    assert front.post(build_request(2).SerializeToString()).status == 200
    front.wait_for(lambda: front.metric("forwarded_requests_total") == 2)
    front.wait_for(lambda: front.metric("forward_retries_total") >= 1)
    assert front.stop() == 0
    assert not any("a-long-enough-token" in line for line in front.lines)


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"Bearer ", b"Basic abcdefgh", b"Bearer abcdefg", b"abcdefgh"]
)
def test_only_the_right_bearer_token_is_let_in(header: bytes | None) -> None:
    guard = Guard("abcdefgh")
    guard.check(b"Bearer abcdefgh")
    guard.check(b"bearer abcdefgh ")
    with pytest.raises(Refusal):
        guard.check(header)


def test_binds_beyond_this_machine_need_a_guard_or_to_be_called_insecure() -> None:
    for open_to_all in ({"http": "0.0.0.0:4318"}, {"grpc": "[::]:4317"}, {"http": "192.0.2.7:4318"}):
        with pytest.raises(UserError, match="--insecure"):
            Settings(**open_to_all)
        Settings(**open_to_all, insecure=True)
        Settings(**open_to_all, token="long-enough")
    Settings(http="[::1]:4318", grpc="localhost:4317")
