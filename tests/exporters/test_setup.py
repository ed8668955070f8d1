"""Where spans go, and what `configure` obeys and refuses."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import inferometer
from inferometer.exporters import destination
from inferometer.exporters.setup import statistics
from inferometer.schema.errors import UserError
from inferometer.schema.selection import Selection
from inferometer.store import open_store
from inferometer.testing import Recorded, record


@inferometer.agent
def clerk() -> None:
    look()


@inferometer.tool
def look() -> None: ...


@contextmanager
def _global(provider: TracerProvider) -> Iterator[None]:
    with mock.patch.object(trace, "_TRACER_PROVIDER", provider):
        yield


@pytest.fixture
def program_provider() -> Iterator[tuple[TracerProvider, InMemorySpanExporter]]:
    """A provider of the program's own, set as the global one for the length of a test."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "theirs"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with _global(provider):
        yield provider, exporter


def _names(path: Path) -> set[str]:
    with open_store(str(path)) as store:
        return {span.name for run in store.runs(Selection()) for span in store.spans_of_run(run.run_id)}


def test_spans_reach_the_store_directly(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    inferometer.configure(service="shop", store=str(store))
    clerk()
    assert inferometer.flush()
    inferometer.shutdown()
    assert _names(store) == {"invoke_agent clerk", "execute_tool look"}
    with open_store(str(store)) as opened:
        (run,) = opened.runs(Selection())
        assert (run.agent_name, run.service) == ("clerk", "shop")
        (row,) = opened.tool_calls(Selection())
        assert row.tool_call.name == "look"


def test_environment_names_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFEROMETER_STORE", str(tmp_path / "named.sqlite"))
    inferometer.configure()
    clerk()
    inferometer.shutdown()
    assert "invoke_agent clerk" in _names(tmp_path / "named.sqlite")


class _Receiver(http.server.BaseHTTPRequestHandler):
    bodies: list[tuple[str, bytes]]
    health = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.health)

    def do_POST(self) -> None:
        self.bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: Any) -> None: ...


@pytest.fixture
def receiver() -> Iterator[tuple[type[_Receiver], int]]:
    """An OTLP/HTTP receiver that keeps what it gets."""
    handler = type("Receiver", (_Receiver,), {"bodies": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield handler, server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def _spans_of(bodies: list[tuple[str, bytes]]) -> list[Any]:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans = []
    for path, body in bodies:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            spans.extend(span for scope in resource.scope_spans for span in scope.spans)
    return spans


def test_environment_names_an_otlp_receiver(
    receiver: tuple[type[_Receiver], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    handler, port = receiver
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    inferometer.configure(service="shop")
    clerk()
    inferometer.shutdown()
    assert {span.name for span in _spans_of(handler.bodies)} == {"invoke_agent clerk", "execute_tool look"}


def test_a_sidecar_is_found_and_another_collector_is_not_taken_for_one(receiver: tuple[type[_Receiver], int]) -> None:
    handler, port = receiver
    handler.health = b'{"name": "inferometer-sidecar"}'
    assert destination.sidecar_answers(port=port)
    handler.health = b'{"status": "Server available"}'
    assert not destination.sidecar_answers(port=port)


def test_nothing_named_and_no_sidecar_goes_to_the_users_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setattr(destination, "SIDECAR_PORT", 9)
    inferometer.configure()
    clerk()
    inferometer.shutdown()
    assert "invoke_agent clerk" in _names(tmp_path / "inferometer" / "store.sqlite")


def test_code_beats_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-environment")
    monkeypatch.setenv("INFEROMETER_STORE", str(tmp_path / "never.sqlite"))
    with record(service="from-code") as recorded:
        clerk()
        assert recorded.named("invoke_agent clerk").resource.attributes["service.name"] == "from-code"
    assert not (tmp_path / "never.sqlite").exists()
    with record() as recorded:
        clerk()
        assert recorded.named("invoke_agent clerk").resource.attributes["service.name"] == "from-environment"


def test_resource_attributes_of_the_environment_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with record() as recorded:
        clerk()
        assert recorded.spans[0].resource.attributes["deployment.environment.name"] == "test"


def test_disabled_sdk_records_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    with record() as recorded:
        clerk()
        assert recorded.spans == []


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [("always_off", None, 0), ("always_on", None, 2), ("parentbased_traceidratio", "0", 0), ("traceidratio", "1", 2)],
)
def test_sampler_of_the_environment_is_obeyed(
    monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str | None, expected: int
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    if argument is not None:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    with record() as recorded:
        clerk()
        assert len(recorded.spans) == expected


def test_a_sampled_root_says_how_many_it_stands_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    with record() as recorded:
        for _ in range(400):
            clerk()
        roots = [span for span in recorded.spans if span.parent is None]
    assert 50 < len(roots) < 160
    assert {span.attributes["inferometer.sampling.weight"] for span in roots} == {4.0}


def test_program_provider_sees_our_spans_through_its_own_pipeline(
    program_provider: tuple[TracerProvider, InMemorySpanExporter],
) -> None:
    provider, theirs = program_provider
    with record() as recorded:
        clerk()
        assert trace.get_tracer_provider() is provider
        assert {span.name for span in theirs.get_finished_spans()} == {"invoke_agent clerk", "execute_tool look"}
        assert {span.name for span in recorded.spans} == {"invoke_agent clerk", "execute_tool look"}
        assert recorded.spans[0].resource.attributes["service.name"] == "theirs"


def test_program_sampler_is_obeyed() -> None:
    with _global(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)), record() as recorded:
        clerk()
        assert recorded.spans == []


def test_provider_set_after_configure_is_found() -> None:
    theirs = InMemorySpanExporter()
    with record():
        clerk()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(theirs))
        with _global(provider):
            clerk()
    assert len(theirs.get_finished_spans()) == 2


def test_third_party_spans_parent_both_ways(recorded: Recorded) -> None:
    theirs = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(theirs))
    tracer = provider.get_tracer("theirs")
    with tracer.start_as_current_span("outer"), inferometer.agent("clerk"), tracer.start_as_current_span("inner"):
        look()
    inner, outer = theirs.get_finished_spans()
    agent, tool = recorded.named("invoke_agent clerk"), recorded.named("execute_tool look")
    assert agent.parent.span_id == outer.context.span_id
    assert inner.parent.span_id == agent.context.span_id
    assert tool.parent.span_id == inner.context.span_id
    assert len({span.context.trace_id for span in (inner, outer, agent, tool)}) == 1


def test_own_global_provider_records_frameworks_and_goes_again() -> None:
    with record(set_global_provider=True) as recorded:
        with trace.get_tracer("framework").start_as_current_span("theirs"):
            clerk()
        assert recorded.tree() == [
            ("theirs", None),
            ("invoke_agent clerk", "theirs"),
            ("execute_tool look", "invoke_agent clerk"),
        ]
    assert trace._TRACER_PROVIDER is None


def test_configuring_again_flushes_what_was_there() -> None:
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    inferometer.configure(exporter=first)
    clerk()
    inferometer.configure(exporter=second)
    clerk()
    assert statistics()["dropped"] == 0
    inferometer.shutdown()
    assert (len(first.get_finished_spans()), len(second.get_finished_spans())) == (2, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exporter": object()}, "SpanExporter"),
        ({"store": "a", "endpoint": "b"}, "one of"),
        ({"capture": "everything"}, "capture level"),
        ({"redact": 3}, "redact"),
        ({"queue_spans": 0}, "positive"),
    ],
)
def test_options_that_cannot_be_obeyed_are_errors_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        inferometer.configure(**options)


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_TRACES_SAMPLER", "sometimes"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon")]
)
def test_environment_that_cannot_be_obeyed_is_an_error_at_once(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=value):
        inferometer.configure()


def test_installed_price_list_prices_calls_for_budgets_and_metrics() -> None:
    from inferometer.exporters.setup import _installed_prices
    from inferometer.schema.meters import Meters

    price = _installed_prices()
    assert price is not None
    million = Meters(input_fresh=1_000_000, output=0)
    cost = price("openai", "gpt-4o-2024-08-06", million)
    assert cost == Decimal("2.5")
    assert price("nobody", "no-such-model", million) is None


def test_wire_holds_the_convention(receiver: tuple[type[_Receiver], int]) -> None:
    import openai

    from inferometer.schema import attributes as names
    from inferometer.testing.model_stub import ModelStub, Reply

    handler, port = receiver
    inferometer.configure(service="shop", endpoint=f"http://127.0.0.1:{port}")
    inferometer.instrument("openai")
    with ModelStub() as stub, openai.OpenAI(base_url=stub.openai_url, api_key="x") as client:
        stub.script(Reply("fine", input_tokens=50, output_tokens=9, cached_tokens=32))
        with inferometer.agent("clerk"):
            client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
    inferometer.uninstrument()
    inferometer.shutdown()
    call, agent = _spans_of(handler.bodies)
    said = {pair.key: pair.value for pair in call.attributes}
    assert (call.name, call.kind, call.parent_span_id) == ("chat gpt-4o", 3, agent.span_id)
    assert said[names.OPERATION].string_value == "chat"
    assert said[names.PROVIDER].string_value == "openai"
    assert said[names.USAGE_INPUT].int_value == 50
    assert said[names.USAGE_CACHE_READ].int_value == 32
    assert said[names.RESPONSE_FINISH_REASONS].array_value.values[0].string_value == "stop"
    assert set(said) <= names.EMITTED
