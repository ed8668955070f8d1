"""A lean span behaves as the SDK's does, call for call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from inferometer.testing import deterministic
from inferometer.tracer.conversion import readable
from inferometer.tracer.span import LeanSpan, Limits

OTHER = SpanContext(3, 4, True, TraceFlags(1))
LIMITS = {"attributes": 4, "events": 3, "links": 2, "event_attributes": 2, "link_attributes": 2, "attribute_length": 6}


def _lean(use: Callable[[Any], None]) -> ReadableSpan:
    done: list[LeanSpan] = []
    span = LeanSpan("name", SpanKind.CLIENT, 1, None, {"first": 1}, done.append, Limits(**LIMITS))
    use(span)
    span.end()
    return readable(done[0], Resource({}), InstrumentationScope("test"))


def _sdk(use: Callable[[Any], None]) -> ReadableSpan:
    exporter = InMemorySpanExporter()
    limits = SpanLimits(
        max_span_attributes=4,
        max_events=3,
        max_links=2,
        max_event_attributes=2,
        max_link_attributes=2,
        max_attribute_length=6,
        max_span_attribute_length=6,
    )
    provider = TracerProvider(resource=Resource({}), span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    span = provider.get_tracer("test").start_span("name", kind=SpanKind.CLIENT, attributes={"first": 1})
    use(span)
    span.end()
    return exporter.get_finished_spans()[0]


def _view(span: ReadableSpan) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": span.kind,
        "attributes": dict(span.attributes or {}),
        "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
        "status": (span.status.status_code, span.status.description),
        "events": [(event.name, dict(event.attributes or {})) for event in span.events],
        "links": [(link.context, dict(link.attributes or {})) for link in span.links],
    }


def _set(span: Span) -> None:
    span.set_attribute("text", "longer than six")
    span.set_attributes({"numbers": [1, 2, 3], "flag": True, "ratio": 0.5, "mixed": ("a", "b")})
    span.set_attribute("text", "short")


def _events(span: Span) -> None:
    for number in range(5):
        span.add_event(f"event {number}", {"a": number, "b": "longer than six", "c": 1})


def _links(span: Span) -> None:
    span.add_link(SpanContext(0, 0, False))
    for number in range(3):
        span.add_link(OTHER, {"number": number})


def _status_final(span: Span) -> None:
    span.set_status(StatusCode.ERROR, "first")
    span.set_status(StatusCode.UNSET)
    span.set_status(Status(StatusCode.ERROR, "second"))
    span.set_status(StatusCode.OK)
    span.set_status(StatusCode.ERROR, "too late")


def _status_error(span: Span) -> None:
    span.set_status(StatusCode.ERROR, "why")


def _rename(span: Span) -> None:
    span.update_name("other")


def _late(span: Span) -> None:
    span.end()
    span.set_attribute("late", 1)
    span.add_event("late")
    span.add_link(OTHER)
    span.update_name("late")
    span.set_status(StatusCode.ERROR)


@pytest.mark.parametrize("use", [_set, _events, _links, _status_final, _status_error, _rename, _late])
def test_span_ends_as_the_sdks_would(use: Callable[[Any], None]) -> None:
    lean, sdk = _view(_lean(use)), _view(_sdk(use))
    for view in (lean, sdk):
        # the SDK cuts texts in events by their own limit only since 1.40
        view["events"] = [(name, {key: str(value)[:6] for key, value in said.items()}) for name, said in view["events"]]
    if use is _events:
        assert [event[0] for event in lean["events"]] == [event[0] for event in sdk["events"]]
        assert lean["dropped"][1] == sdk["dropped"][1] == 2
        return
    assert lean == sdk


def test_exceptions_are_recorded_as_the_api_asks() -> None:
    def use(span: Any) -> None:
        try:
            raise KeyError("gone")
        except KeyError as error:
            span.record_exception(error, {"more": 1})

    done: list[LeanSpan] = []
    span = LeanSpan("name", SpanKind.INTERNAL, 1, None, {}, done.append, Limits())
    use(span)
    assert span.is_recording()
    span.end()
    assert not span.is_recording()
    (event,) = readable(done[0], Resource({}), InstrumentationScope("test")).events
    assert event.name == "exception"
    assert event.attributes["exception.type"] == "KeyError"
    assert event.attributes["more"] == 1
    assert "test_span.py" in event.attributes["exception.stacktrace"]


def test_leaving_a_with_block_by_an_exception_marks_the_span() -> None:
    done: list[LeanSpan] = []
    with pytest.raises(ValueError, match="no"), LeanSpan("name", SpanKind.INTERNAL, 1, None, {}, done.append, Limits()):
        raise ValueError("no")
    (span,) = done
    assert (span.status_code, span.status_text) == (StatusCode.ERROR, "ValueError: no")


def test_times_given_are_kept_and_a_second_end_changes_nothing() -> None:
    done: list[LeanSpan] = []
    span = LeanSpan("name", SpanKind.INTERNAL, 1, None, {}, done.append, Limits())
    span.add_event("early", timestamp=5)
    span.end(7)
    span.end(9)
    assert [one.end_ns for one in done] == [7]
    assert done[0].events is not None
    assert done[0].events[0][1] == 5


def test_ids_and_times_can_be_made_the_same_at_every_run() -> None:
    def once() -> list[tuple[int, int, int | None]]:
        done: list[LeanSpan] = []
        with deterministic():
            for _ in range(3):
                LeanSpan("name", SpanKind.INTERNAL, 1, None, {}, done.append, Limits()).end()
        return [(span.span_id, span.start_ns, span.end_ns) for span in done]

    assert once() == once()
    assert len({span_id for span_id, _, _ in once()}) == 3


def test_values_that_otlp_cannot_carry_become_text() -> None:
    def use(span: Any) -> None:
        span.set_attributes({"object": {"a": [1]}, "none": None, "mixed": [1, "a"]})

    assert dict(_lean(use).attributes or {}) == {"first": 1, "object": '{"a": ', "mixed": '[1, "a'}
