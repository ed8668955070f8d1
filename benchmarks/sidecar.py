"""The sidecar's rates: acknowledged and on disk in a burst, and sustained into full canonical records.

    python benchmarks/sidecar.py [--seconds 10] [--rotel PATH] [--phoenix PATH] [--soak SECONDS]

The sidecar's two processes have one core, the client another. Requests hold 64 spans of about 1.4 kB with
fresh ids, four traces of an agent with 15 calls each. Named peers run the same load on the same core; they are
optional, each in an environment of its own (``pip install --pre rotel``, ``pip install arize-phoenix``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import secrets
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SPANS_PER_REQUEST = 64
SPANS_PER_TRACE = 16
CONNECTIONS = 8
SERVER_CORE, CLIENT_CORE = 0, 1
_TRACE_MARK, _SPAN_MARK, _ROOT_MARK = b"\xf1TRACE-ID-MARK!\xf2", b"\xf3SPANID\xf4", b"\xf5ROOTID\xf6"
START_NS = 1_760_000_000_000_000_000


class Template:
    """A request whose ids are replaced in place, so that making one costs the client little."""

    def __init__(self, spans: int = SPANS_PER_REQUEST) -> None:
        body = _template_request(spans).SerializeToString()
        self._pieces: list[tuple[int, int, str]] = []
        self._body = body
        for mark, kind in ((_TRACE_MARK, "trace"), (_SPAN_MARK, "span"), (_ROOT_MARK, "root")):
            at = body.find(mark)
            while at >= 0:
                self._pieces.append((at, len(mark), kind))
                at = body.find(mark, at + 1)
        self._pieces.sort()
        self.bytes_per_span = len(body) / spans

    def build(self) -> bytes:
        """Return a request with fresh ids: a new trace wherever a root comes first."""
        body = bytearray(self._body)
        trace, root, place = b"", b"", 0
        for at, size, kind in self._pieces:
            if kind == "trace":
                if place % SPANS_PER_TRACE == 0:
                    trace, root = secrets.token_bytes(16), secrets.token_bytes(8)
                place += 1
                body[at : at + size] = trace
            else:
                body[at : at + size] = root if kind == "root" else secrets.token_bytes(8)
        return bytes(body)


def _template_request(spans: int) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    group = request.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = "bench"
    scope = group.scope_spans.add()
    scope.scope.name = "benchmarks.sidecar"
    text = "Explain how the order service talks to the stock service when an item is returned. " * 8
    for number in range(spans):
        is_root = number % SPANS_PER_TRACE == 0
        span = scope.spans.add(
            trace_id=_TRACE_MARK,
            span_id=_ROOT_MARK if is_root else _SPAN_MARK,
            parent_span_id=b"" if is_root else _ROOT_MARK,
            name="invoke_agent shop" if is_root else "chat gpt-4o",
            kind=1 if is_root else 3,
            start_time_unix_nano=START_NS + number * 1_000_000,
            end_time_unix_nano=START_NS + number * 1_000_000 + (20_000_000 if is_root else 900_000),
        )
        texts = {
            "gen_ai.operation.name": "invoke_agent" if is_root else "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.agent.name": "shop",
            "gen_ai.request.model": "gpt-4o",
            "gen_ai.response.model": "gpt-4o-2024-08-06",
            "gen_ai.response.id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
            "gen_ai.conversation.id": "conversation-17",
            "gen_ai.input.messages": json.dumps([{"role": "user", "parts": [{"type": "text", "content": text[:560]}]}]),
            "server.address": "api.openai.com",
            "gen_ai.output.type": "text",
            "deployment": "blue",
            "team": "checkout",
            "feature": "returns",
        }
        numbers = {
            "gen_ai.usage.input_tokens": 1500,
            "gen_ai.usage.output_tokens": 220,
            "gen_ai.usage.cache_read.input_tokens": 512,
            "gen_ai.request.max_tokens": 1024,
            "gen_ai.request.seed": 7,
            "server.port": 443,
            "retries": 0,
            "attempt": 1,
            "position": number,
        }
        for key, value in texts.items():
            span.attributes.add(key=key).value.string_value = value
        for key, count in numbers.items():
            span.attributes.add(key=key).value.int_value = count
    return request


@dataclass
class Load:
    """What a client saw."""

    requests: int = 0
    refused: int = 0
    seconds: float = 0.0
    latencies_s: list[float] = field(default_factory=list)

    @property
    def spans_per_s(self) -> float:
        return self.requests * SPANS_PER_REQUEST / self.seconds


def drive(port: int, path: str, bodies: list[list[bytes]], seconds: float) -> Load:
    """Send prepared bodies over as many connections as there are lists, for so long or until they are used up."""
    load = Load()
    lock = threading.Lock()
    begin = time.perf_counter()

    def send(mine: list[bytes]) -> None:
        done = refused = 0
        latencies = []
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: "
            for body in mine:
                if time.perf_counter() - begin > seconds:
                    break
                started = time.perf_counter()
                connection.sendall(f"{head}{len(body)}\r\n\r\n".encode() + body)
                answer = b""
                while b"\r\n\r\n" not in answer:
                    answer += connection.recv(65536)
                headers, _, rest = answer.partition(b"\r\n\r\n")
                size = int(headers.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
                while len(rest) < size:
                    rest += connection.recv(65536)
                if b" 200 " in headers[:16]:
                    done += 1
                    latencies.append(time.perf_counter() - started)
                else:
                    refused += 1
                    time.sleep(0.05)
        with lock:
            load.requests += done
            load.refused += refused
            load.latencies_s += latencies

    threads = [threading.Thread(target=send, args=(mine,)) for mine in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - begin
    return load


def pinned(words: list[str], **options: object) -> subprocess.Popen[bytes]:
    """Start a process that has one core for itself and its children."""
    return subprocess.Popen(["taskset", "-c", str(SERVER_CORE), *words], **options)  # type: ignore[call-overload,no-any-return]


def cpu_s(pid: int) -> float:
    """Return the processor time of a process and its living children, in seconds."""
    ticks = 0
    for process in [pid, *children(pid)]:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid: int) -> list[int]:
    """Return the children of a process."""
    return [int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()]


def rss_mb(pid: int) -> list[float]:
    """Return the resident memory of a process and of each child, in MB."""
    found = []
    for process in [pid, *children(pid)]:
        line = next(
            text for text in Path(f"/proc/{process}/status").read_text().splitlines() if text.startswith("VmRSS")
        )
        found.append(int(line.split()[1]) / 1024)
    return found


@contextlib.contextmanager
def sidecar(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, Path]]:
    """A sidecar on one core; yields its process, HTTP port and store."""
    store = folder / "store.sqlite"
    process = pinned(
        [
            *(sys.executable, "-P", "-m", "inferometer", "sidecar", "--store", str(store), "--grpc", "off"),
            *("--http", "127.0.0.1:0", "--log-level", "error"),
        ],
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    line = process.stderr.readline().decode()
    port = int(line.split("http://127.0.0.1:")[1].split(";")[0].split(",")[0])
    try:
        yield process, port, store
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


def stored_spans(store: Path) -> int:
    """Return the number of spans in an SQLite store."""
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM spans").fetchone()[0])


def prepare(template: Template, spans: int) -> list[list[bytes]]:
    """Return bodies for all connections, made before the clock starts."""
    each = max(1, spans // SPANS_PER_REQUEST // CONNECTIONS)
    return [[template.build() for _ in range(each)] for _ in range(CONNECTIONS)]


def percentile(values: list[float], share: float) -> float:
    """Return a percentile."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else float("nan")


def report(name: str, load: Load, cpu: float, note: str = "") -> None:
    """Print one row."""
    spans = load.requests * SPANS_PER_REQUEST
    print(
        f"| {name} | {load.spans_per_s:,.0f} | {cpu / spans * 1e6 if spans else float('nan'):.1f} "
        f"| {percentile(load.latencies_s, 0.5) * 1e3:.1f} / {percentile(load.latencies_s, 0.99) * 1e3:.1f} "
        f"| {load.refused} | {note} |",
        flush=True,
    )


def burst(template: Template, seconds: float) -> float:
    """Rate acknowledged and on disk, both processes on one core; a backlog is allowed."""
    bodies = prepare(template, int(seconds * 250_000))
    with tempfile.TemporaryDirectory() as name, sidecar(Path(name)) as (process, port, store):
        drive(port, "/v1/traces", prepare(template, 2000), 1)
        time.sleep(1)
        before = cpu_s(process.pid)
        load = drive(port, "/v1/traces", bodies, seconds)
        rss = "+".join(f"{one:.0f}" for one in rss_mb(process.pid))
        report(
            "sidecar, durable acks", load, cpu_s(process.pid) - before, f"RSS {rss} MB, stored {stored_spans(store):,}"
        )
        return load.spans_per_s


def sustained(template: Template, spans: int) -> float:
    """Rate from the first request to the last record in the store, all on one core."""
    bodies = prepare(template, spans)
    with tempfile.TemporaryDirectory() as name, sidecar(Path(name)) as (process, port, store):
        warm = drive(port, "/v1/traces", prepare(template, 2000), 5).requests * SPANS_PER_REQUEST
        while stored_spans(store) < warm:
            time.sleep(0.1)
        time.sleep(0.5)
        first, before, begin = stored_spans(store), cpu_s(process.pid), time.perf_counter()
        load = drive(port, "/v1/traces", bodies, 600)
        wanted = first + load.requests * SPANS_PER_REQUEST
        while stored_spans(store) < wanted:
            time.sleep(0.05)
        load.seconds = time.perf_counter() - begin
        rss = "+".join(f"{one:.0f}" for one in rss_mb(process.pid))
        report("sidecar, canonical records", load, cpu_s(process.pid) - before, f"RSS {rss} MB")
        return load.spans_per_s


def rotel_burst(template: Template, binary: str, seconds: float) -> float:
    """Rate of rotel with its blackhole exporter: acknowledges from memory and keeps nothing."""
    port, grpc_port = free_port(), free_port()
    process = pinned(
        [
            *(binary, "start", "--exporter", "blackhole", "--otlp-http-endpoint", f"127.0.0.1:{port}"),
            *("--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, 20)
        bodies = prepare(template, int(seconds * 250_000))
        before = cpu_s(process.pid)
        load = drive(port, "/v1/traces", bodies, seconds)
        report("rotel, acks from memory", load, cpu_s(process.pid) - before, f"RSS {rss_mb(process.pid)[0]:.0f} MB")
        return load.spans_per_s
    finally:
        process.kill()
        process.wait()


def phoenix_persisted(template: Template, binary: str, seconds: float) -> float:
    """Phoenix with its SQLite: spans a second that are in its database, counted while it is fed."""
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        environment = {
            **os.environ,
            "PHOENIX_WORKING_DIR": name,
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
        }
        process = pinned([binary, "serve"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        try:
            wait_for_port(port, 120)
            database = Path(name) / "phoenix.db"
            before = cpu_s(process.pid)
            begin = time.perf_counter()
            load = drive(port, "/v1/traces", prepare(template, 40_000), seconds)
            load.seconds = time.perf_counter() - begin
            rate = stored_spans(database) / load.seconds
            note = f"persisted {rate:,.0f} spans/s, RSS {rss_mb(process.pid)[0]:.0f} MB"
            report("phoenix, acks", load, cpu_s(process.pid) - before, note)
            return rate
        finally:
            process.kill()
            process.wait()


def soak(template: Template, seconds: float, spans_per_s: int) -> None:
    """A steady load; prints memory, files and journal as they develop."""
    with tempfile.TemporaryDirectory() as name, sidecar(Path(name)) as (process, port, store):
        begin = time.perf_counter()
        sent, samples = 0, []
        while (elapsed := time.perf_counter() - begin) < seconds:
            due = int(elapsed * spans_per_s) - sent
            if due >= SPANS_PER_REQUEST * CONNECTIONS:
                sent += drive(port, "/v1/traces", prepare(template, due), 60).requests * SPANS_PER_REQUEST
            if not samples or elapsed - samples[-1][0] > seconds / 10:
                wal = Path(f"{store}.journal-wal")
                files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
                samples.append((elapsed, sum(rss_mb(process.pid)), files, wal.stat().st_size / 2**20))
                print("  at {:4.0f} s: RSS {:.0f} MB, {} files open, WAL {:.0f} MiB".format(*samples[-1]), flush=True)
            time.sleep(0.02)
        rss = [sample[1] for sample in samples[2:]]
        print(f"soak: {sent:,} spans in {seconds:.0f} s, RSS {min(rss):.0f} to {max(rss):.0f} MB after warm-up")


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def wait_for_port(port: int, seconds: float) -> None:
    """Return when something listens."""
    for _ in range(int(seconds * 10)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError(f"nothing listens on {port}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--sustained-spans", type=int, default=150_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rotel", default=shutil.which("rotel-agent"))
    parser.add_argument("--phoenix", default=shutil.which("phoenix"))
    parser.add_argument("--soak", type=float, default=0)
    parser.add_argument("--soak-rate", type=int, default=5000)
    options = parser.parse_args()
    os.sched_setaffinity(0, {CLIENT_CORE})
    template = Template()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; ",
        end="",
    )
    print(f"{SPANS_PER_REQUEST} spans of {template.bytes_per_span:.0f} B a request, {CONNECTIONS} connections")
    print("| what | spans/s | CPU us/span | p50 / p99 ms | refused | |\n|---|---|---|---|---|---|")
    rates, ratios = [], []
    for _ in range(options.rounds):
        theirs = rotel_burst(template, options.rotel, options.seconds) if options.rotel else None
        ours = burst(template, options.seconds)
        if theirs is not None:
            ratios.append(ours / theirs)
        rates.append(sustained(template, options.sustained_spans))
    if ratios:
        pairs = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"acknowledged and on disk over rotel's rate: median {statistics.median(ratios):.2f} of {pairs}")
    print(f"sustained median {statistics.median(rates):,.0f} spans/s")
    if options.phoenix:
        persisted = phoenix_persisted(template, options.phoenix, 30)
        print(f"canonical records over what Phoenix persists: {statistics.median(rates) / persisted:,.0f}x")
    if options.soak:
        soak(template, options.soak, options.soak_rate)


if __name__ == "__main__":
    main()
