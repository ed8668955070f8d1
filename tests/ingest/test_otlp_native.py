"""The native reader of OTLP against the protobuf library: where it answers, it answers the same."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from inferometer.ingest import _otlp, otlp
from inferometer.ingest.raw import RawEvent, RawSpan, resource_of
from inferometer.schema.records import SpanLink, Status
from inferometer.testing.otlp_requests import build_request

END_NS = 1_760_000_000_000_000_000
TEXTS = ("", "a", "gen_ai.request.model", "ünïcode", "日本", "😀", "\0nul", "x" * 64, "y" * 65, "z" * 300)


def native(body: bytes) -> list[RawSpan] | None:
    return _otlp.decode_spans(body, RawSpan, RawEvent, SpanLink, resource_of, otlp._KINDS, tuple(Status))


def reference(body: bytes) -> tuple[list[RawSpan], Counter[str]]:
    warnings: Counter[str] = Counter()
    return list(otlp._spans_of_protobuf(body, warnings)), warnings


def fill_value(value: Any, source: random.Random, depth: int = 0) -> None:
    kind = source.randrange(8 if depth < 4 else 5)
    if kind == 0:
        value.string_value = source.choice(TEXTS)
    elif kind == 1:
        value.int_value = source.choice((0, 1, -1, 2**63 - 1, -(2**63), 77))
    elif kind == 2:
        value.double_value = source.choice((0.0, 1.5, float("inf"), float("nan")))
    elif kind == 3:
        value.bool_value = source.random() < 0.5
    elif kind == 4:
        value.bytes_value = b"\xff\x00"
    elif kind == 5:
        value.array_value.SetInParent()
        for _ in range(source.randrange(3)):
            fill_value(value.array_value.values.add(), source, depth + 1)
    elif kind == 6:
        value.kvlist_value.SetInParent()
        fill_pairs(value.kvlist_value.values, source, depth + 1)


def fill_pairs(pairs: Any, source: random.Random, depth: int = 0) -> None:
    for _ in range(source.randrange(4)):
        pair = pairs.add(key=source.choice(TEXTS))
        if source.random() < 0.9:
            fill_value(pair.value, source, depth)


def random_request(source: random.Random) -> Any:
    """A request as exporters write them, with every field that they fill."""
    request = ExportTraceServiceRequest()
    for _ in range(source.randrange(1, 3)):
        group = request.resource_spans.add(schema_url=source.choice(("", "https://opentelemetry.io/schemas/1.30.0")))
        fill_pairs(group.resource.attributes, source)
        scope = group.scope_spans.add()
        scope.scope.name, scope.scope.version = source.choice(TEXTS), source.choice(("", "1.2"))
        for _ in range(source.randrange(4)):
            span = scope.spans.add(
                trace_id=source.choice((source.randbytes(16), b"\1" * 16)),
                span_id=source.randbytes(8),
                parent_span_id=source.choice((b"", source.randbytes(8), b"\2" * 8)),
                name=source.choice(TEXTS),
                kind=source.randrange(6),
                start_time_unix_nano=source.choice((0, END_NS - 5, END_NS)),
                end_time_unix_nano=END_NS + source.randrange(9),
                trace_state=source.choice(("", "ot=th:8")),
                flags=source.choice((0, 257)),
                dropped_attributes_count=source.choice((0, 3)),
            )
            fill_pairs(span.attributes, source)
            for _ in range(source.randrange(3)):
                event = span.events.add(name=source.choice(TEXTS), time_unix_nano=source.choice((0, END_NS)))
                fill_pairs(event.attributes, source)
            for _ in range(source.randrange(2)):
                link = span.links.add(trace_id=b"\3" * 16, span_id=b"\4" * 8, trace_state=source.choice(TEXTS), flags=1)
                fill_pairs(link.attributes, source)
            if source.random() < 0.5:
                span.status.code, span.status.message = source.randrange(3), source.choice(TEXTS)
    return request


def mutated(body: bytes, source: random.Random) -> bytes:
    data = bytearray(body)
    for _ in range(source.choice((1, 1, 2, 4))):
        at = source.randrange(len(data) + 1)
        match source.randrange(4):
            case 0:
                data[at : at + 1] = source.randbytes(1)
            case 1:
                data[at : at + 1] = bytes(byte ^ 1 << source.randrange(8) for byte in data[at : at + 1])
            case 2:
                del data[at : at + source.randrange(1, 4)]
            case _:
                data[at:at] = source.randbytes(source.randrange(1, 3))
    return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_what_exporters_write_is_read_natively_and_the_same(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(150):
        body = random_request(source).SerializeToString()
        spans, warnings = reference(body)
        assert not warnings
        assert repr(native(body)) == repr(spans)  # NaN is not equal to itself, its text is


@pytest.mark.parametrize("seed", range(4))
def test_broken_requests_are_left_to_the_reference_or_read_the_same(seed: int) -> None:
    source = random.Random(seed)
    answered = 0
    for _ in range(40):
        body = random_request(source).SerializeToString()
        for _ in range(60):
            broken = mutated(body, source)
            spans = native(broken)
            if spans is not None:
                answered += 1
                expected, warnings = reference(broken)
                assert not warnings
                assert repr(spans) == repr(expected), broken.hex()
    assert answered > 100


def test_a_request_cut_at_any_byte_is_left_to_the_reference_or_read_the_same() -> None:
    body = random_request(random.Random(7)).SerializeToString()
    for end in range(len(body)):
        spans = native(body[:end])
        assert spans is None or repr(spans) == repr(reference(body[:end])[0])


def spans_with_sound_ids(body: bytes) -> int | None:
    """Return how many spans protobuf reads; None where it reads none of it, or one has no sound ids."""
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError:
        return None
    spans = [span for group in request.resource_spans for scope in group.scope_spans for span in scope.spans]
    sound = all(
        len(span.trace_id) == 16 and any(span.trace_id) and len(span.span_id) == 8 and any(span.span_id)
        for span in spans
    )
    return len(spans) if sound and all(len(span.parent_span_id) in (0, 8) for span in spans) else None


@pytest.mark.parametrize("seed", range(4))
def test_spans_are_counted_without_being_read_where_all_of_them_can_be_kept(seed: int) -> None:
    source = random.Random(seed)
    answered = 0
    for _ in range(60):
        body = random_request(source).SerializeToString()
        assert _otlp.count_spans(body) == spans_with_sound_ids(body) is not None
        for _ in range(60):
            broken = mutated(body, source)
            count = _otlp.count_spans(broken)
            if count is not None:
                answered += 1
                assert count == spans_with_sound_ids(broken), broken.hex()
        end = source.randrange(len(body) + 1)
        assert _otlp.count_spans(body[:end]) in (None, spans_with_sound_ids(body[:end]))
    assert answered > 100


@pytest.mark.parametrize("fields", [
    {"trace_id": b"\1" * 15},
    {"trace_id": bytes(16)},
    {"span_id": b""},
    {"span_id": bytes(8)},
    {"parent_span_id": b"\1" * 7},
])  # fmt: skip
def test_spans_with_ids_that_are_none_are_not_counted(fields: dict[str, bytes]) -> None:
    assert _otlp.count_spans(one_span(**fields).SerializeToString()) is None


def test_texts_that_are_not_utf8_are_not_counted() -> None:
    body = one_span(name="name 123").SerializeToString()
    for text in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x9f\xbf", b"\xe2\x82"):
        assert _otlp.count_spans(body.replace(b"name 123", text.rjust(8))) is None
    for good in ("é", "€", "😀", "\U0010ffff", "\ud7ff", "\ue000"):
        assert _otlp.count_spans(body.replace(b"name 123", good.encode().rjust(8))) == 1


def one_span(**fields: Any) -> Any:
    request = ExportTraceServiceRequest()
    values = {"trace_id": b"\1" * 16, "span_id": b"\2" * 8, "end_time_unix_nano": END_NS, **fields}
    request.resource_spans.add().scope_spans.add().spans.add(**values)
    return request


@pytest.mark.parametrize("fields", [
    {"trace_id": b"\1" * 15}, {"trace_id": bytes(16)}, {"span_id": b""}, {"span_id": bytes(8)},
    {"parent_span_id": b"\1" * 7}, {"parent_span_id": bytes(8)},
    {"end_time_unix_nano": 0}, {"end_time_unix_nano": 2**63}, {"start_time_unix_nano": END_NS + 1}, {"kind": 6},
])  # fmt: skip
def test_what_has_to_be_mended_or_counted_is_left_to_the_reference(fields: dict[str, Any]) -> None:
    body = one_span(**fields).SerializeToString()
    assert native(one_span().SerializeToString()) is not None
    assert native(body) is None
    assert reference(body) is not None


@pytest.mark.parametrize(("depth", "is_read"), [(15, True), (40, False)])
def test_values_nested_too_deep_are_left_to_the_reference(depth: int, is_read: bool) -> None:
    request = one_span()
    value = request.resource_spans[0].scope_spans[0].spans[0].attributes.add(key="deep").value
    for _ in range(depth):
        value = value.array_value.values.add()
    body = request.SerializeToString()
    assert (native(body) is not None) == is_read
    assert not is_read or native(body) == reference(body)[0]


def test_a_field_given_twice_is_left_to_the_reference() -> None:
    """Protobuf lets the last of two scalars win and merges two messages: none of that is known natively."""
    body = one_span(name="first").SerializeToString()
    span_only = one_span(name="second").resource_spans[0].scope_spans[0].spans[0].SerializeToString()
    name = b"\x2a\x06second"
    assert span_only.count(name) == 1
    inner = one_span(name="first").resource_spans[0].scope_spans[0].spans[0].SerializeToString() + name
    scope = b"\x12" + bytes([len(inner)]) + inner
    group = b"\x12" + bytes([len(scope)]) + scope
    twice = b"\x0a" + bytes([len(group)]) + group
    assert [span.name for span in native(body) or ()] == ["first"]
    assert native(twice) is None
    assert [span.name for span in reference(twice)[0]] == ["second"]


def test_equal_keys_and_ids_are_one_object() -> None:
    """What comes again with every span is held once: it is hashed once and takes room once."""
    spans = native(build_request(8).SerializeToString())
    assert spans is not None
    first, second = spans[-2:]
    assert all(one is other for one, other in zip(first.attributes, second.attributes, strict=True))
    assert first.trace_id is second.trace_id


def test_what_callbacks_raise_comes_through() -> None:
    def refuse(*_: object) -> Any:
        raise LookupError("refused")

    body = one_span().SerializeToString()
    with pytest.raises(LookupError):
        _otlp.decode_spans(body, refuse, RawEvent, SpanLink, resource_of, otlp._KINDS, tuple(Status))
    with pytest.raises(LookupError):
        _otlp.decode_spans(body, RawSpan, RawEvent, SpanLink, refuse, otlp._KINDS, tuple(Status))


def test_nothing_is_leaked() -> None:
    import tracemalloc

    source = random.Random(3)
    bodies = [random_request(source).SerializeToString() for _ in range(20)]
    bodies += [mutated(body, source) for body in bodies for _ in range(5)]
    for body in bodies:
        native(body)
    tracemalloc.start()
    try:
        for body in bodies:
            native(body)
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            for body in bodies:
                native(body)
        assert tracemalloc.get_traced_memory()[0] - before < 100_000
    finally:
        tracemalloc.stop()


def test_sources_keep_their_bounds(repository: Path) -> None:
    sources = {path.name: path.read_text() for path in (repository / "ingest/csrc").glob("*.[ch]")}
    assert {name for name, text in sources.items() if "Python.h" in text or "PyObject" in text} == {"module.c"}
    assert all(text.count("\n") <= 600 for text in sources.values())
    for name, text in sources.items():
        for line in re.findall(r"^static (?!const |inline )[^(\n]*(?:=|;)", text, re.MULTILINE):
            assert name == "module.c"
            assert re.match(r"static (?:PyMethodDef|PyModuleDef_Slot|struct PyModuleDef) ", line)
