"""Our own encoder says what the official one says, byte for byte once both are read back."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, StatusCode, TraceFlags, TraceState

from inferometer.exporters.encoding import encode_lean
from inferometer.tracer.conversion import readable
from inferometer.tracer.span import LeanSpan, Limits

RESOURCE = Resource({"service.name": "shop", "numbers": (1, 2)}, "https://example.org/schema")
SCOPE = InstrumentationScope("inferometer", "1.2", "https://example.org/scope")
REMOTE = SpanContext(3, 4, True, TraceFlags(1), TraceState([("ot", "th:8")]))


def _ended(parent: Any = None, limits: Limits | None = None, **attributes: Any) -> LeanSpan:
    state = parent.trace_state if parent is not None else TraceState()
    return LeanSpan("name", SpanKind.CLIENT, 3, parent, attributes, lambda span: None, limits or Limits(), state)


def _plain() -> LeanSpan:
    return _ended(text="ä", number=-(2**63), big=2**63 - 1, ratio=0.5, flag=False)


def _sequences() -> LeanSpan:
    return _ended(texts=("a", "b"), numbers=(1, 2), none=(), flags=(True, False), ratios=(0.5, 1.0))


def _parents() -> LeanSpan:
    return _ended(parent=REMOTE)


def _busy() -> LeanSpan:
    span = _ended(a=1)
    for number in range(3):
        span.add_event(f"event {number}", {"n": number})
        span.add_link(REMOTE, {"n": number})
    span.set_status(StatusCode.ERROR, "why")
    return span


def _full() -> LeanSpan:
    span = _ended(limits=Limits(attributes=2, events=1, links=1))
    span.set_attributes({"a": 1, "b": 2, "c": 3})
    for number in range(3):
        span.add_event(f"event {number}")
        span.add_link(REMOTE)
    return span


def _odd() -> LeanSpan:
    return _ended(mapping={"a": [1]}, mixed=(1, "a"), nothing=None, raw=b"bytes")


@pytest.mark.parametrize("make", [_plain, _sequences, _parents, _busy, _full, _odd])
def test_encoder_says_what_the_official_one_says(make: Any) -> None:
    span = make()
    child = LeanSpan("child", SpanKind.INTERNAL, 3, span, {}, lambda one: None, Limits())
    for one in (child, span):
        one.end()
    ours = ExportTraceServiceRequest.FromString(encode_lean([span, child], RESOURCE, SCOPE))
    theirs = ExportTraceServiceRequest()
    theirs.ParseFromString(encode_spans([readable(one, RESOURCE, SCOPE) for one in (span, child)]).SerializeToString())
    for request in (ours, theirs):
        for found in request.resource_spans[0].scope_spans[0].spans:
            found.attributes.sort(key=lambda pair: pair.key)
            for flagged in (found, *found.links):
                flagged.flags &= ~0xFF  # the official one leaves out that a span was sampled
            found.status.SetInParent()  # and writes an empty status
    assert ours.resource_spans[0].scope_spans == theirs.resource_spans[0].scope_spans
    assert ours.resource_spans[0].resource == theirs.resource_spans[0].resource


def test_values_that_protobuf_refuses_still_go_out() -> None:
    span = _ended(surrogate="a\ud800b", huge=2**70)
    span.end()
    request = ExportTraceServiceRequest.FromString(encode_lean([span], RESOURCE, SCOPE))
    values = {
        pair.key: pair.value.string_value for pair in request.resource_spans[0].scope_spans[0].spans[0].attributes
    }
    assert values == {"surrogate": "a?b", "huge": str(2**70)}
