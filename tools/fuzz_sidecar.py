"""Fuzz everything that a request's bytes pass through, with coverage as the guide.

    pip install atheris && python tools/fuzz_sidecar.py [seconds]

A request may be refused; anything else that is raised while it is looked over, stripped or turned over to another
encoding is a fault, and so is a request that was accepted and then cannot be read into records.
"""

from __future__ import annotations

import gzip
import json
import sys
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["inferometer"]):
    from inferometer.sidecar.compression import ENCODINGS, decompress
    from inferometer.sidecar.content import strip_request
    from inferometer.sidecar.envelope import SIGNALS, open_envelope
    from inferometer.sidecar.grpc_receiver import compression_of
    from inferometer.sidecar.reading import read_request
    from inferometer.sidecar.refusal import Refusal
    from inferometer.sidecar.transcoding import to_protobuf

from inferometer.testing.otlp_requests import build_request

LIMIT_BYTES = 1 << 20


def run_one(data: bytes) -> None:
    """Take one input through all that a request goes through; its first byte chooses how."""
    if not data:
        return
    choice, body = data[0], data[1:]
    signal = SIGNALS[choice % 3]
    encoding = ("protobuf", "json")[choice // 3 % 2]
    compression = ENCODINGS[choice // 6 % 4] if choice < 192 else compression_of(body)
    try:
        plain = decompress(body, compression, LIMIT_BYTES)
        envelope = open_envelope(signal, encoding, plain)
    except Refusal:
        return
    assert len(plain) <= LIMIT_BYTES
    plain = plain if envelope.rewritten is None else envelope.rewritten
    again = open_envelope(signal, encoding, plain)
    assert again.rejected == 0, "what is left after rejection is sound"
    assert again.items == envelope.items
    if not envelope.items:
        return  # acknowledged and not journalled
    batch = read_request(signal, encoding, plain, keep_content=False)
    if signal == "traces":
        assert len(batch.spans) <= envelope.items
    if encoding == "json":
        # a value that the JSON reader forgives may have no place in protobuf
        with suppress(Refusal):
            to_protobuf(signal, plain)
        with suppress(Refusal):
            strip_request(signal, encoding, plain)
    else:
        strip_request(signal, encoding, plain)


def seeds() -> list[bytes]:
    """Return sound requests of several kinds to begin with."""
    body = build_request(2, content="words").SerializeToString()
    span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat", "kind": 3}
    span_json = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    log = {"timeUnixNano": "5", "attributes": [{"key": "event.name", "value": {"stringValue": "x"}}]}
    log_json = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [log]}]}]}).encode()
    point = {"timeUnixNano": "5", "asDouble": 1.5}
    metric = {"name": "vllm:num_requests_running", "gauge": {"dataPoints": [point]}}
    metric_json = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [metric]}]}]}).encode()
    # choice: signal + 3 x encoding + 6 x compression
    return [b"\0" + body, b"\x06" + gzip.compress(body), b"\x03" + span_json, b"\x04" + log_json, b"\x05" + metric_json]


def main() -> None:
    """Fuzz for so many seconds; the process ends with 77 and the input where a fault is found."""
    import tempfile
    from pathlib import Path

    seconds = sys.argv[1] if len(sys.argv) > 1 else "60"
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds()):
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        atheris.Setup(
            [sys.argv[0], f"-max_total_time={seconds}", "-max_len=8192", "-rss_limit_mb=1024", corpus], run_one
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
