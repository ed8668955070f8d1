"""Whatever is sent: a 4xx with a Status, never a 5xx, never a crash, memory bounded."""

from __future__ import annotations

import contextlib
import gzip
import json
import random
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inferometer.sidecar.envelope import open_envelope
from inferometer.sidecar.refusal import Refusal
from inferometer.testing.otlp_requests import build_request, ids_of, stored_ids
from inferometer.testing.sidecar_process import Answer, Running, start_sidecar

LIMIT = 1024 * 1024
ENVELOPE_KEYS = (
    *("resourceSpans", "scopeSpans", "spans"),
    *("resourceLogs", "scopeLogs", "logRecords"),
    *("resourceMetrics", "scopeMetrics", "metrics"),
)
SOUND = build_request(2, content="some words").SerializeToString()
SPAN = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "chat"}


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("malformed")
    running = start_sidecar(folder, "--max-request-bytes", "1MiB", "--read-timeout", "2", "--max-connections", "64")
    yield running
    alive = running.process.poll() is None
    assert running.stop() == 0
    assert alive


def json_request(*spans: dict[str, Any]) -> bytes:
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": list(spans)}]}]}).encode()


def post_json(sidecar: Running, body: bytes) -> Answer:
    return sidecar.post(body, content_type="application/json")


def read_status(answer: Answer) -> tuple[int, str]:
    """Return code and message of a google.rpc.Status, whatever its encoding."""
    if answer.headers["content-type"] == "application/json":
        document = json.loads(answer.body)
        return document["code"], document["message"]
    from google.rpc.status_pb2 import Status

    status = Status.FromString(answer.body)
    return status.code, status.message


def assert_refused(answer: Answer, http_status: int, code: int) -> None:
    assert answer.status == http_status, answer
    assert read_status(answer)[0] == code
    assert read_status(answer)[1]


def test_every_truncation_is_refused_or_a_shorter_sound_message() -> None:
    for end in range(len(SOUND)):
        with contextlib.suppress(Refusal):
            open_envelope("traces", "protobuf", SOUND[:end])


def test_truncated_requests_are_answered_400_with_a_status(sidecar: Running) -> None:
    for end in (1, 2, 7, len(SOUND) // 2, len(SOUND) - 1):
        assert_refused(sidecar.post(SOUND[:end]), 400, 3)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=8))
def test_flipped_bytes_are_read_or_refused(flips: list[tuple[int, int]]) -> None:
    body = bytearray(SOUND)
    for at, value in flips:
        body[at] = value
    for signal in ("traces", "logs", "metrics"):
        with contextlib.suppress(Refusal):
            open_envelope(signal, "protobuf", bytes(body))


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from([*ENVELOPE_KEYS, "traceId", "spanId", "kind", "attributes", "gauge", "dataPoints"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_any_json_is_read_or_refused(document: Any) -> None:
    for signal in ("traces", "logs", "metrics"):
        with contextlib.suppress(Refusal):
            open_envelope(signal, "json", json.dumps(document).encode())


def test_random_bytes_never_make_a_5xx(sidecar: Running) -> None:
    source = random.Random(7)
    for number in range(150):
        body = source.randbytes(source.randrange(1, 400))
        content_type = ("application/json", "application/x-protobuf")[number % 2]
        path = ("/v1/traces", "/v1/logs", "/v1/metrics")[number % 3]
        encoding = ("identity", "gzip", "deflate", "zstd")[number % 4]
        answer = sidecar.post(body, path, content_type=content_type, content_encoding=encoding)
        assert answer.status in {200, 400}, (number, answer)


def test_body_of_the_limit_is_taken_and_one_more_byte_is_not(sidecar: Running) -> None:
    request = build_request(1, content="x")
    padding = LIMIT - len(request.SerializeToString())
    for _ in range(3):  # the length prefixes grow with the padding
        request = build_request(1, content="x" * (padding + 1))
        padding -= len(request.SerializeToString()) - LIMIT
    body = build_request(1, content="x" * (padding + 1)).SerializeToString()
    assert len(body) == LIMIT
    assert sidecar.post(body).status == 200
    over = build_request(1, content="x" * (padding + 2)).SerializeToString()
    assert_refused(sidecar.post(over), 413, 8)
    assert_refused(sidecar.post(bytes(3 * LIMIT)), 413, 8)


def test_chunked_bodies_are_bounded_too(sidecar: Running) -> None:
    def chunked(chunks: list[bytes]) -> bytes:
        with socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=20) as connection:
            connection.sendall(
                b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            for chunk in chunks:
                connection.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            connection.sendall(b"0\r\n\r\n")
            return connection.recv(65536)

    assert b" 200 " in chunked([SOUND[:10], SOUND[10:]])[:16]
    assert b" 413 " in chunked([bytes(65536)] * 20)[:16]


def test_a_lying_content_length_waits_no_longer_than_the_read_timeout(sidecar: Running) -> None:
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: 5000\r\n\r\nabc"
        )
        assert b" 408 " in connection.recv(65536)[:16]
    assert time.monotonic() - begin < 10


def test_bombs_and_broken_compression_are_refused_without_being_unfolded(sidecar: Running) -> None:
    zeros = bytes(200 * LIMIT)
    bombs = {"gzip": gzip.compress(zeros, 9), "deflate": zlib.compress(zeros, 9), "zstd": zstandard.compress(zeros)}
    for encoding, bomb in bombs.items():
        assert len(bomb) < LIMIT
        assert_refused(sidecar.post(bomb, content_encoding=encoding), 413, 8)
    whole = gzip.compress(SOUND)
    assert sidecar.post(whole, content_encoding="gzip").status == 200
    assert sidecar.post(gzip.compress(SOUND[:50]) + gzip.compress(SOUND[50:]), content_encoding="gzip").status == 200
    assert sidecar.post(zlib.compress(SOUND), content_encoding="deflate").status == 200
    assert sidecar.post(zstandard.compress(SOUND), content_encoding="zstd").status == 200
    assert_refused(sidecar.post(whole[:-9], content_encoding="gzip"), 400, 3)
    assert_refused(sidecar.post(zlib.compress(SOUND)[:-5], content_encoding="deflate"), 400, 3)
    assert_refused(sidecar.post(zstandard.compress(SOUND)[:-3], content_encoding="zstd"), 400, 3)
    assert_refused(sidecar.post(gzip.compress(whole), content_encoding="gzip"), 400, 3)
    assert_refused(sidecar.post(SOUND, content_encoding="gzip"), 400, 3)
    assert_refused(sidecar.post(SOUND, content_encoding="br"), 415, 12)
    with Path(f"/proc/{sidecar.process.pid}/status").open() as status:
        peak_kb = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak_kb < 250 * 1024


def test_a_grpc_bomb_is_refused_without_being_unfolded(sidecar: Running) -> None:
    bomb = gzip.compress(bytes(200 * LIMIT), 9)
    with sidecar.grpc_channel() as channel:
        export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        with pytest.raises(grpc.RpcError) as caught:
            export(bomb, timeout=20)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as caught:
            export(bytes(150 * LIMIT), compression=grpc.Compression.Gzip, timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert export(SOUND, compression=grpc.Compression.Gzip, timeout=20) == b""
        assert export(SOUND, compression=grpc.Compression.Deflate, timeout=20) == b""


def test_slow_and_idle_connections_are_closed_and_do_not_stop_others(sidecar: Running) -> None:
    idle = [socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=20) for _ in range(30)]
    try:
        idle[0].sendall(b"POST /v1/traces HTT")
        idle[1].sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n")
        assert sidecar.post(SOUND).status == 200
        begin = time.monotonic()
        for connection in idle:
            assert connection.recv(1024) == b""
        assert time.monotonic() - begin < 15
    finally:
        for connection in idle:
            connection.close()


def test_too_many_connections_are_turned_away_and_then_served_again(sidecar: Running) -> None:
    held = [socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=20) for _ in range(80)]
    try:
        turned_away = [connection for connection in held[64:] if b" 503 " in connection.recv(1024)[:16]]
        assert len(turned_away) >= 10
    finally:
        for connection in held:
            connection.close()
    sidecar.wait_for(lambda: sidecar.post(SOUND).status == 200)


def test_endless_headers_are_cut_off(sidecar: Running) -> None:
    with socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=20) as connection:
        connection.sendall(b"POST /v1/traces HTTP/1.1\r\n")
        with contextlib.suppress(OSError):
            for number in range(4000):
                connection.sendall(b"x-%d: %s\r\n" % (number, b"y" * 1000))
        with contextlib.suppress(OSError):
            assert connection.recv(1024)[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 431", b""}


def test_a_half_closed_connection_still_gets_its_answer_or_an_end(sidecar: Running) -> None:
    with socket.create_connection(("127.0.0.1", sidecar.http_port), timeout=20) as connection:
        connection.sendall(
            b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(SOUND), SOUND)
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1024)[:15] in {b"HTTP/1.1 200 OK", b""}


def test_a_bad_span_costs_only_itself(sidecar: Running) -> None:
    request = build_request(5)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id = bytes(8)
    spans[1].span_id = b""
    spans[2].span_id = bytes(8)
    kept = {(span.trace_id, span.span_id) for span in spans[3:]}
    answer = sidecar.post(request.SerializeToString())
    assert answer.status == 200
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

    partial = ExportTraceServiceResponse.FromString(answer.body).partial_success
    assert partial.rejected_spans == 3
    assert "16 bytes" in partial.error_message
    sidecar.wait_until_stored()
    found = set(stored_ids(sidecar.store))
    assert kept <= found
    assert not any(len(trace_id) != 16 or len(span_id) != 8 for trace_id, span_id in found)


def test_json_follows_the_mapping_of_the_specification(sidecar: Running) -> None:
    upper = {**SPAN, "traceId": "5B8EFFF798038103D269B633813FC6AA", "startTimeUnixNano": 5, "endTimeUnixNano": "6"}
    assert post_json(sidecar, json_request(upper)).body == b"{}"
    assert_refused(post_json(sidecar, b'{"resource_spans": []}'), 400, 3)
    assert_refused(post_json(sidecar, b"[]"), 400, 3)
    assert_refused(post_json(sidecar, b"not json"), 400, 3)
    assert_refused(post_json(sidecar, b'{"resourceSpans": 5}'), 400, 3)
    assert_refused(post_json(sidecar, b'{"resourceSpans": [{"scopeSpans": [{"spans": ["x"]}]}]}'), 400, 3)
    for bad in ({"kind": "SPAN_KIND_CLIENT"}, {"traceId": "W47/95gDgQPSabYzgT/GDA=="}, {"spanId": "0" * 16}):
        partial = json.loads(post_json(sidecar, json_request({**SPAN, **bad}, SPAN)).body)["partialSuccess"]
        assert partial["rejectedSpans"] == "1"
        assert partial["errorMessage"]


def test_hard_values_are_taken_and_stored_without_quarantine(sidecar: Running) -> None:
    before = sidecar.metric("quarantined_total")
    request = build_request(12, attributes={"nul": "a\0b", "": "empty key", "long": "x" * 50_000})
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[0].name = "nul\0name"
    spans[1].start_time_unix_nano, spans[1].end_time_unix_nano = 2**64 - 1, 2**64 - 1
    spans[2].start_time_unix_nano, spans[2].end_time_unix_nano = 0, 0
    spans[3].start_time_unix_nano, spans[3].end_time_unix_nano = 10, 5
    spans[4].parent_span_id = spans[4].span_id
    spans[5].parent_span_id, spans[6].parent_span_id = spans[6].span_id, spans[5].span_id
    spans[7].parent_span_id = bytes(range(8))
    spans[8].attributes.add(key="nan").value.double_value = float("nan")
    spans[8].attributes.add(key="inf").value.double_value = float("inf")
    spans[8].attributes.add(key="bytes").value.bytes_value = b"\xff\x00"
    spans[8].attributes.add(key="gen_ai.usage.input_tokens").value.int_value = 2**63 - 1
    spans[8].attributes.add(key="gen_ai.usage.output_tokens").value.int_value = -(2**63)
    for number in range(3000):
        spans[9].attributes.add(key=f"k{number}").value.string_value = "v"
    deep = spans[10].attributes.add(key="deep").value
    for _ in range(25):
        deep = deep.array_value.values.add()
    deep.string_value = "bottom"
    spans[11].trace_state = "ot=th:not-hexadecimal"
    assert sidecar.post(request.SerializeToString()).body == b""
    huge = {"key": "big", "value": {"intValue": str(2**80)}}
    broken = {"key": "broken", "value": {"intValue": "twelve"}}
    odd = {"key": "double", "value": {"doubleValue": "NaN"}}
    span = {**SPAN, "spanId": "aaaaaaaaaaaaaaab", "attributes": [huge, broken, odd, {"key": 5}, "x", {"value": {}}]}
    assert post_json(sidecar, json_request(span)).status == 200
    sidecar.wait_until_stored()
    assert ids_of(request) <= set(stored_ids(sidecar.store))
    assert sidecar.metric("quarantined_total") == before


def test_text_that_is_not_unicode_and_depth_without_end_are_refused(sidecar: Running) -> None:
    body = (
        build_request(1, attributes={"text": "REPLACED"}).SerializeToString().replace(b"REPLACED", b"\xff\xfe\xfd_____")
    )
    assert_refused(sidecar.post(body), 400, 3)
    assert_refused(post_json(sidecar, json_request(SPAN).replace(b"chat", b"\\ud800")), 400, 3)
    assert_refused(post_json(sidecar, b'{"resourceSpans":' + b"[" * 5000 + b"]" * 5000 + b"}"), 400, 3)
    nested = b""
    for _ in range(200):  # AnyValue.array_value.values, one in the other
        inner = b"\x0a" + _varint(len(nested)) + nested
        nested = b"\x2a" + _varint(len(inner)) + inner
    pair = b"\x0a\x01k\x12" + _varint(len(nested)) + nested
    span = b"\x0a\x10" + bytes(range(16)) + b"\x12\x08" + bytes(range(1, 9)) + b"\x4a" + _varint(len(pair)) + pair
    for _ in range(3):
        span = b"\x12" + _varint(len(span)) + span
    assert_refused(sidecar.post(b"\x0a" + span[1:]), 400, 3)


def _varint(value: int) -> bytes:
    encoded = b""
    while value > 0x7F:
        encoded += struct.pack("B", value & 0x7F | 0x80)
        value >>= 7
    return encoded + struct.pack("B", value)


def test_empty_requests_succeed(sidecar: Running) -> None:
    assert (sidecar.post(b"").status, sidecar.post(b"").body) == (200, b"")
    assert post_json(sidecar, b"{}").body == b"{}"
    assert post_json(sidecar, b'{"resourceSpans": [{"scopeSpans": [{"spans": []}]}]}').body == b"{}"
    assert post_json(sidecar, b'{"resourceSpans": null}').body == b"{}"


def test_paths_methods_and_types_that_are_not_ours(sidecar: Running) -> None:
    assert_refused(sidecar.request("GET", "/v1/traces"), 405, 12)
    assert sidecar.request("GET", "/v1/traces").headers["allow"] == "POST"
    assert sidecar.request("HEAD", "/v1/traces").status == 405
    assert_refused(sidecar.post(SOUND, content_type="text/plain"), 415, 12)
    assert_refused(sidecar.post(b"{}", "/v1/profiles", content_type="application/json"), 404, 5)
    preflight = sidecar.request("OPTIONS", "/v1/traces", headers={"origin": "https://evil.example"})
    assert preflight.status == 405
    assert "access-control-allow-origin" not in preflight.headers


def test_a_span_that_comes_again_or_twice_at_once_is_stored_once(sidecar: Running) -> None:
    import threading

    request = build_request(6)
    body = request.SerializeToString()
    threads = [threading.Thread(target=sidecar.post, args=(body,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    more = build_request(6, trace_id=next(iter(ids_of(request)))[0])
    more.CopyFrom(request)
    more.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="feature").value.string_value = "late"
    assert sidecar.post(more.SerializeToString()).status == 200
    sidecar.wait_until_stored()
    stored = [one for one in stored_ids(sidecar.store) if one in ids_of(request)]
    assert sorted(stored) == sorted(ids_of(request))
