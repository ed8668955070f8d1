"""Clients and peers that are not Python packages of ours; each test skips where its client is absent.

npm install --prefix /tmp/js @opentelemetry/sdk-trace-base @opentelemetry/exporter-trace-otlp-http
pip install --pre rotel          (in an environment of its own)
INFEROMETER_TEST_NODE_MODULES=/tmp/js/node_modules INFEROMETER_TEST_ROTEL=.../rotel/rotel-agent pytest tests/sidecar
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Start

# read while tests are collected: a fixture clears the environment for each test
NODE_MODULES = Path(os.environ.get("INFEROMETER_TEST_NODE_MODULES", "node_modules")).absolute()
ROTEL = os.environ.get("INFEROMETER_TEST_ROTEL") or shutil.which("rotel-agent")

PROGRAM = """
const { BasicTracerProvider, BatchSpanProcessor } = require('@opentelemetry/sdk-trace-base');
const { OTLPTraceExporter } = require('@opentelemetry/exporter-trace-otlp-http');
const exporter = new OTLPTraceExporter({ url: process.argv[2], compression: process.argv[3] });
const provider = new BasicTracerProvider({ spanProcessors: [new BatchSpanProcessor(exporter)] });
const tracer = provider.getTracer('js');
const ids = [];
for (let i = 0; i < 100; i++) {
  const attributes = { 'gen_ai.operation.name': 'chat', 'gen_ai.usage.input_tokens': i };
  const span = tracer.startSpan('chat', { attributes });
  ids.push([span.spanContext().traceId, span.spanContext().spanId]);
  span.end();
}
provider.shutdown().then(() => console.log(JSON.stringify(ids)));
"""


@pytest.mark.skipif(
    not (NODE_MODULES / "@opentelemetry/exporter-trace-otlp-http").is_dir() or shutil.which("node") is None,
    reason="the JavaScript SDK is not installed",
)
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_the_javascript_sdks_json_exporter_delivers_everything(start: Start, tmp_path: Path, compression: str) -> None:
    sidecar = start()
    program = tmp_path / "program.js"
    program.write_text(PROGRAM)
    done = subprocess.run(
        ["node", str(program), f"http://127.0.0.1:{sidecar.http_port}/v1/traces", compression],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "NODE_PATH": str(NODE_MODULES)},
    )
    ids = {(bytes.fromhex(trace_id), bytes.fromhex(span_id)) for trace_id, span_id in json.loads(done.stdout)}
    assert len(ids) == 100
    sidecar.wait_until_stored()
    assert set(stored_ids(sidecar.store)) == ids
    assert sidecar.stop() == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def rotel(*options: str) -> Iterator[int]:
    """Run rotel; yields the port of its OTLP/HTTP receiver."""
    port, grpc_port = free_port(), free_port()
    receivers = ("--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}")
    process = subprocess.Popen(
        [str(ROTEL), "start", *receivers, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        yield port
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(ROTEL is None, reason="rotel is not installed")
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_rotel_forwards_to_us_and_we_to_rotel(start: Start, tmp_path: Path, protocol: str) -> None:
    """Everything goes sidecar > rotel > sidecar, and arrives unchanged in ids and content of meters."""
    (tmp_path / "behind").mkdir()
    behind = start(folder=tmp_path / "behind")
    port = behind.http_port if protocol == "http" else behind.grpc_port
    export = ("--exporter", "otlp", "--otlp-exporter-endpoint", f"http://127.0.0.1:{port}")
    with rotel(*export, "--otlp-exporter-protocol", protocol) as rotel_port:
        front = start("--forward", f"http://127.0.0.1:{rotel_port}")
        requests = [build_request(16) for _ in range(5)]
        for request in requests:
            assert front.post(request.SerializeToString()).status == 200
        wanted = set().union(*map(ids_of, requests))
        behind.wait_for(lambda: set(stored_ids(behind.store)) == wanted, "everything behind rotel")
        assert front.stop() == 0
    assert behind.stop() == 0
