"""The convention's metrics, recorded through the program's own MeterProvider."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from unittest import mock

import openai
import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import inferometer
from inferometer.testing import record
from inferometer.testing.model_stub import ModelStub, Reply
from inferometer.tracer import metrics as own_metrics


@pytest.fixture
def reader() -> Iterator[InMemoryMetricReader]:
    """A MeterProvider of the program's own."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], exemplar_filter=AlwaysOnExemplarFilter(), shutdown_on_exit=False)
    with mock.patch.object(metrics._internal, "_METER_PROVIDER", provider):
        yield reader
    provider.shutdown()


def _points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: list(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_calls_agents_and_tools_are_measured_at_their_own_grain(reader: InMemoryMetricReader) -> None:
    @inferometer.tool
    def look() -> None: ...

    inferometer.instrument("openai")
    with ModelStub() as stub, openai.OpenAI(base_url=stub.openai_url, api_key="x") as client:
        stub.script(*(Reply("one two", input_tokens=100, output_tokens=7, cached_tokens=64) for _ in range(3)))

        def ask() -> None:
            client.chat.completions.create(model="gpt-4o", messages=[])

        with record(prices=lambda provider, model, meters: Decimal(meters.output) / 100) as recorded:
            with inferometer.workflow("office"), inferometer.agent("clerk"):
                ask()
                look()
                with inferometer.agent("helper"):
                    ask()
                    ask()
            spans = {span.context.span_id: span for span in recorded.spans}
    inferometer.uninstrument()
    points = _points(reader)
    (fresh,) = points["gen_ai.client.inference.usage.input_tokens"]
    assert fresh.value == 300
    assert fresh.attributes["gen_ai.request.model"] == "gpt-4o"
    assert points["gen_ai.client.inference.usage.cache_read.input_tokens"][0].value == 192
    assert points["gen_ai.client.inference.duration"][0].count == 3
    assert points["inferometer.cost"][0].value == pytest.approx(0.21)
    calls = {
        point.attributes["gen_ai.agent.name"]: (point.sum, point.count)
        for point in points["gen_ai.invoke_agent.inference_calls"]
    }
    assert calls == {"clerk": (1, 1), "helper": (2, 1)}
    assert points["gen_ai.invoke_workflow.inference_calls"][0].sum == 3
    assert points["gen_ai.invoke_workflow.tool_calls"][0].sum == 1
    assert points["gen_ai.execute_tool.duration"][0].count == 1
    exemplar = fresh.exemplars[0]
    assert spans[exemplar.span_id].name == "chat gpt-4o"


def test_labels_are_bounded(reader: InMemoryMetricReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_metrics, "LABEL_VALUES", 3)
    with record():
        for number in range(9):
            with inferometer.tool(f"tool-{number}"):
                pass
    names = {point.attributes["gen_ai.tool.name"] for point in _points(reader)["gen_ai.execute_tool.duration"]}
    assert names == {"tool-0", "tool-1", "tool-2", "other"}


def test_without_a_meter_provider_nothing_is_made() -> None:
    observed = own_metrics.Metrics(None, "0")
    with inferometer.tool("look") as span:
        observed.observe({"gen_ai.operation.name": "execute_tool"}, span.get_span_context(), 1)
    assert observed._instruments is None
