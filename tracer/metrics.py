"""Metrics of the convention and `inferometer.cost`, through the program's own MeterProvider, off the caller's path.

Source: open-telemetry/semantic-conventions-genai, metrics.yaml, 2026-11. Agents' call counts are at the agent's own
grain. Labels are bounded: a label's values beyond the first `LABEL_VALUES` are reported as ``other``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, set_span_in_context

from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter

    from inferometer.tracer.recording import Price

LABEL_VALUES = 200
OTHER = "other"
_DURATIONS_S = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_AGENT_DURATIONS_S = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
_WORKFLOW_DURATIONS_S = (1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_CALLS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_CHUNK_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_INFERENCES = frozenset({"chat", "generate_content", "text_completion"})
_LABELS = (names.OPERATION, names.PROVIDER, names.REQUEST_MODEL, names.RESPONSE_MODEL, names.ERROR_TYPE)
_COUNTED = {
    # metric: attribute of the span
    "gen_ai.client.inference.usage.input_tokens": names.USAGE_INPUT,
    "gen_ai.client.inference.usage.output_tokens": names.USAGE_OUTPUT,
    "gen_ai.client.inference.usage.cache_read.input_tokens": names.USAGE_CACHE_READ,
    "gen_ai.client.inference.usage.cache_write.input_tokens": names.USAGE_CACHE_WRITE,
    "gen_ai.client.inference.usage.reasoning.output_tokens": names.USAGE_REASONING,
}


class Metrics:
    """The instruments, made when a program has set a MeterProvider.

    Args:
        price: what a call costs; None leaves `inferometer.cost` out.
        version: of Inferometer.
    """

    def __init__(self, price: Price | None, version: str) -> None:
        self._price = price
        self._version = version
        self._instruments: _Instruments | None = None
        self._seen: dict[str, set[str]] = {}

    def observe(self, attributes: Mapping[str, Any], context: SpanContext, duration_ns: int) -> None:
        """Record what one ended span says; `duration_ns` is from its start to its end."""
        if getattr(metrics._internal, "_METER_PROVIDER", None) is None:
            return
        if self._instruments is None:
            self._instruments = _Instruments(metrics.get_meter(names.SCOPE, self._version, schema_url=names.SCHEMA_URL))
        made, seconds = self._instruments, duration_ns / 1e9
        # exemplars point at the span: it is made current for the recording alone
        where = set_span_in_context(NonRecordingSpan(context), Context())
        operation = attributes.get(names.OPERATION)
        if operation in _INFERENCES:
            self._observe_inference(made, attributes, seconds, where)
        elif operation == "embeddings":
            made.operation_duration.record(seconds, self._labels(attributes, _LABELS), where)
            self._observe_cost(made, attributes, where)
        elif operation in made.work:
            duration, name, counts = made.work[str(operation)]
            labels = self._labels(attributes, (name, names.ERROR_TYPE))
            duration.record(seconds, labels, where)
            for attribute, histogram in counts.items():
                if isinstance(count := attributes.get(attribute), int):
                    histogram.record(count, labels, where)

    def _observe_inference(
        self, made: _Instruments, attributes: Mapping[str, Any], seconds: float, where: Context
    ) -> None:
        labels = self._labels(attributes, _LABELS)
        made.duration.record(seconds, labels, where)
        for attribute, counter in made.counted.items():
            if isinstance(count := attributes.get(attribute), int):
                counter.add(count, labels, where)
        for attribute, histogram in made.per_call.items():
            if isinstance(count := attributes.get(attribute), int):
                histogram.record(count, labels, where)
        if isinstance(ttft_s := attributes.get(names.RESPONSE_TTFC_S), float):
            made.first_chunk.record(ttft_s, labels, where)
        if isinstance(gap_ns := attributes.get(names.INTER_TOKEN_P50_NS), int):
            made.per_chunk.record(gap_ns / 1e9, labels, where)
        self._observe_cost(made, attributes, where)

    def _observe_cost(self, made: _Instruments, attributes: Mapping[str, Any], where: Context) -> None:
        if self._price is None:
            return
        model = attributes.get(names.RESPONSE_MODEL) or attributes.get(names.REQUEST_MODEL)
        cost = self._price(attributes.get(names.PROVIDER), model, meters_from(attributes))
        if isinstance(cost, Decimal):
            made.cost.add(float(cost), self._labels(attributes, _LABELS[:4]), where)

    def _labels(self, attributes: Mapping[str, Any], wanted: tuple[str, ...]) -> dict[str, str]:
        labels = {}
        for name in wanted:
            value = attributes.get(name)
            if value is not None:
                seen = self._seen.setdefault(name, set())
                text = str(value)
                if text not in seen:
                    if len(seen) >= LABEL_VALUES:
                        text = OTHER
                    else:
                        seen.add(text)
                labels[name] = text
        return labels


class _Instruments:
    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, text: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=bounds)

        def numbers(name: str, unit: str, text: str, bounds: tuple[float, ...]) -> Histogram:
            return meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=bounds)

        client = "gen_ai.client.inference"
        self.duration = seconds(f"{client}.duration", "Duration of a model call.", _DURATIONS_S)
        self.operation_duration = seconds("gen_ai.client.operation.duration", "Duration of another call.", _DURATIONS_S)
        self.first_chunk = seconds(f"{client}.time_to_first_chunk", "Time to the first chunk.", _DURATIONS_S)
        self.per_chunk = seconds(f"{client}.time_per_output_chunk", "Median time between a call's chunks.", _CHUNK_S)
        self.counted: dict[str, Counter] = {
            attribute: meter.create_counter(metric, "{token}", "Tokens that model calls used.")
            for metric, attribute in _COUNTED.items()
        }
        self.per_call = {
            names.USAGE_INPUT: numbers(f"{client}.operation.input_tokens", "{token}", "Input of a call.", _TOKENS),
            names.USAGE_OUTPUT: numbers(f"{client}.operation.output_tokens", "{token}", "Output of a call.", _TOKENS),
        }
        self.cost = meter.create_counter("inferometer.cost", "{USD}", "Cost of model calls at list price.")

        def work(
            metric: str, attribute: str, bounds: tuple[float, ...], counts: bool
        ) -> tuple[Histogram, str, dict[str, Histogram]]:
            histograms = {}
            if counts:
                for name, calls in ((names.INFERENCE_CALLS, "inference_calls"), (names.TOOL_CALLS, "tool_calls")):
                    histograms[name] = numbers(f"{metric}.{calls}", "{call}", f"Its {calls}, own grain.", _CALLS)
            return seconds(f"{metric}.duration", "Its duration.", bounds), attribute, histograms

        self.work = {
            "invoke_agent": work("gen_ai.invoke_agent", names.AGENT_NAME, _AGENT_DURATIONS_S, True),
            "invoke_workflow": work("gen_ai.invoke_workflow", names.WORKFLOW_NAME, _WORKFLOW_DURATIONS_S, True),
            "execute_tool": work("gen_ai.execute_tool", names.TOOL_NAME, _DURATIONS_S, False),
        }


def meters_from(attributes: Mapping[str, Any]) -> Meters:
    """Return disjoint meters from the convention's inclusive counts on a span."""

    def count(name: str) -> int | None:
        value = attributes.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    read, written, given = count(names.USAGE_CACHE_READ), count(names.USAGE_CACHE_WRITE), count(names.USAGE_INPUT)
    one_hour = count(names.USAGE_CACHE_WRITE_1H)
    return Meters(
        input_fresh=None if given is None else max(0, given - (read or 0) - (written or 0)),
        cache_read=read,
        cache_write_5m=None if written is None else max(0, written - (one_hour or 0)),
        cache_write_1h=one_hour,
        output=count(names.USAGE_OUTPUT),
        reasoning=count(names.USAGE_REASONING),
        input_audio=count(names.USAGE_AUDIO_INPUT),
        cache_read_audio=count(names.USAGE_AUDIO_CACHE_READ),
        output_audio=count(names.USAGE_AUDIO_OUTPUT),
        input_image=count(names.USAGE_IMAGE_INPUT),
        output_image=count(names.USAGE_IMAGE_OUTPUT),
    )


Observe = Callable[[Mapping[str, Any], SpanContext, int], None]
