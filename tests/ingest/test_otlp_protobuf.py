"""Large export requests cut into small ones: they hold what the whole holds, and take the memory of a part."""

from __future__ import annotations

import gzip
import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from inferometer.ingest.importers import otlp_protobuf
from inferometer.ingest.importers.otlp_protobuf import read_requests
from inferometer.ingest.importing import ImportReport
from inferometer.store import Store

Load = Callable[..., ImportReport]


def request(seed: int, groups: int = 4) -> ExportTraceServiceRequest:
    """Spans of one trace in several resources and scopes of quite different sizes, some of them empty."""
    chance = random.Random(seed)
    made = ExportTraceServiceRequest()
    number = 0
    for group in range(groups):
        resource = made.resource_spans.add(schema_url=f"schema {group}")
        resource.resource.attributes.add(key="service.name").value.string_value = f"service {group}"
        for place in range(chance.randrange(3)):
            scope = resource.scope_spans.add(schema_url="x" * chance.randrange(300))
            scope.scope.name = f"opentelemetry.util.genai.handler{group}{place}"
            for _ in range(chance.randrange(9)):
                number += 1
                span = scope.spans.add(
                    trace_id=b"t" * 16, span_id=number.to_bytes(8), name="chat", start_time_unix_nano=10**18 + number,
                    end_time_unix_nano=10**18 + 10**9 + number, flags=1,
                )  # fmt: skip
                for key, value in {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o"}.items():
                    span.attributes.add(key=key).value.string_value = value
                span.attributes.add(key="gen_ai.usage.input_tokens").value.int_value = number
                span.attributes.add(key="gen_ai.usage.output_tokens").value.int_value = 2**40 if number == 5 else 7
                span.attributes.add(key="share").value.double_value = 0.5
                span.attributes.add(key="note").value.string_value = "n" * chance.choice([0, 5, 400])
    return made


def told(requests: Iterator[bytes]) -> list[tuple[bytes, bytes, bytes]]:
    """Each span with its scope and resource."""
    return [
        (group.resource.SerializeToString(), part.scope.SerializeToString(), span.SerializeToString())
        for body in requests
        for group in ExportTraceServiceRequest.FromString(body).resource_spans
        for part in group.scope_spans
        for span in part.spans
    ]


def with_length(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("part_bytes", [1, 40, 200, 1000, 10**6])
def test_parts_hold_what_the_whole_holds(part_bytes: int) -> None:
    for seed in range(40):
        body = request(seed).SerializeToString()
        whole = told(iter([body]))
        assert told(read_requests(io.BytesIO(body), has_lengths=False, part_bytes=part_bytes)) == whole
        twice = io.BytesIO(with_length(body) * 2)
        assert told(read_requests(twice, has_lengths=True, part_bytes=part_bytes)) == whole * 2


@pytest.mark.parametrize("has_lengths", [False, True])
def test_request_that_is_cut_off_is_an_error_or_ends_between_its_parts(has_lengths: bool) -> None:
    body = request(3).SerializeToString()
    whole = told(iter([body]))
    sent = with_length(body) if has_lengths else body
    errors = 0
    for end in range(len(sent)):
        found: list[bytes] = []
        try:
            found.extend(read_requests(io.BytesIO(sent[:end]), has_lengths=has_lengths, part_bytes=100))
        except ValueError:
            errors += 1
        else:
            assert len(told(iter(found))) < len(whole) or not whole
        assert told(iter(found)) == whole[: len(told(iter(found)))]
    assert errors > len(sent) * 0.9


@pytest.mark.parametrize(
    "body", [b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0b", b"\x0a\x02\x12\x05", b"\xff" * 11, b"\x0a"]
)
def test_what_is_no_message_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"ends within|not known|longer than|more than ten"):
        list(read_requests(io.BytesIO(body), has_lengths=False, part_bytes=1))


def meters(store: Store) -> list[dict[str, int]]:
    rows = sorted(store.inferences(), key=lambda row: row.inference.span_id)
    return [row.inference.meters.as_dict() for row in rows]


@pytest.mark.parametrize("way", ["one", "one, gzip", "several"])
def test_files_are_imported_whole(
    tmp_path: Path, store: Store, load: Load, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(otlp_protobuf.read_requests, "__kwdefaults__", {"part_bytes": 300})
    body = request(11, 8).SerializeToString()
    spans = len(told(iter([body])))
    path = tmp_path / "traces.bin"
    path.write_bytes({"one": body, "one, gzip": gzip.compress(body), "several": with_length(body) * 2}[way])
    report = load(path)
    assert spans > 20
    assert (report.spans, report.inferences, report.duplicates) == (spans, spans, spans if way == "several" else 0)
    given = [each["input_fresh"] for each in meters(store)]
    assert given == list(range(1, spans + 1))


def test_broken_file_adds_nothing(tmp_path: Path, store: Store, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp_protobuf.read_requests, "__kwdefaults__", {"part_bytes": 300})
    path = tmp_path / "traces.bin"
    path.write_bytes(request(11, 8).SerializeToString()[:-30])
    report = load(path)
    assert "not an ExportTraceServiceRequest" in report.failed[0].reason
    assert list(store.inferences()) == []
