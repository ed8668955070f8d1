"""The ``openai-agents`` SDK, through its own trace processors: agents, turns, tools, handoffs and model calls."""

from __future__ import annotations

from typing import Any

from inferometer.integrations.base import Integration, Patches, field
from inferometer.integrations.events import OpenSpans
from inferometer.integrations.openai_bodies import RESPONSES, meters_of, read_body
from inferometer.schema import attributes as names
from inferometer.schema.messages import parts_of
from inferometer.tracer.calls import Answer, Request
from inferometer.tracer.guard import report

_CALLS = frozenset({"generation", "response"})


class OpenAIAgentsIntegration(Integration):
    """Turns the SDK's own spans into ours."""

    name = "openai-agents"
    module = "agents"
    distribution = "openai-agents"
    minimum = (0, 1)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Add a trace processor beside those that are there; uninstrumenting makes it silent."""
        processor = _processor_class(module.tracing.TracingProcessor)()
        module.add_trace_processor(processor)
        patches.on_undo(processor.stop)
        return True


def integration() -> Integration:
    """Return the hook."""
    return OpenAIAgentsIntegration()


def _processor_class(base: type) -> Any:
    class Processor(base):  # type: ignore[misc]
        """Listens to the SDK; it offers no way to remove one processor, so `stop` makes this one deaf."""

        def __init__(self) -> None:
            self._open = OpenSpans()
            self._stopped = False

        def stop(self) -> None:
            self._stopped = True
            self._open.close()

        def on_trace_start(self, trace: Any) -> None:
            if not self._stopped:
                attributes = {}
                if (group := getattr(trace, "group_id", None)) is not None:
                    attributes[names.CONVERSATION_ID] = str(group)
                self._open.start(trace.trace_id, "workflow", str(trace.name), attributes)

        def on_trace_end(self, trace: Any) -> None:
            self._open.end(trace.trace_id)

        def on_span_start(self, span: Any) -> None:
            if self._stopped:
                return
            data = span.span_data
            kind = data.type
            if kind == "agent":
                self._open.start(span.span_id, "agent", str(data.name))
            elif kind in _CALLS:
                self._open.start_call(span.span_id, _request_of(data))
            elif kind in ("function", "handoff"):
                name = data.name if kind == "function" else f"transfer_to_{data.to_agent}"
                self._open.start(span.span_id, "tool", str(name), {names.TOOL_TYPE: "function"})
            elif kind in ("turn", "guardrail", "custom"):
                self._open.start(span.span_id, "step", str(getattr(data, "name", None) or kind))

        def on_span_end(self, span: Any) -> None:
            data = span.span_data
            error = field(span.error, "message") and "AgentsError" if span.error else None
            try:
                if data.type in _CALLS:
                    self._open.end_call(span.span_id, _answer_of(data), error)
                elif data.type == "function":
                    self._open.end_tool(span.span_id, data.input, data.output, error)
                else:
                    self._open.end(span.span_id, error)
            except Exception as failure:
                report("openai-agents span", failure)

        def shutdown(self) -> None:
            self._open.close()

        def force_flush(self) -> None:
            """Nothing waits here."""

    return Processor


def _request_of(data: Any) -> Request:
    settings = getattr(data, "model_config", None) or {}
    wanted = {
        "temperature": names.REQUEST_TEMPERATURE,
        "top_p": names.REQUEST_TOP_P,
        "max_tokens": names.REQUEST_MAX_TOKENS,
    }
    parameters = {name: settings[key] for key, name in wanted.items() if isinstance(settings.get(key), (int, float))}
    return Request(
        "chat", "openai", getattr(data, "model", None), parameters=parameters, messages=getattr(data, "input", None)
    )


def _answer_of(data: Any) -> Answer:
    if data.type == "response":
        answer = read_body(RESPONSES, data.response)
        if answer.meters is not None:
            return answer
    meters = meters_of(data.usage)
    if meters is not None and not meters.total:
        meters = None  # the SDK fills in zeros where the provider told nothing
    output = getattr(data, "output", None)
    text = "".join(part.text for part in parts_of(None, output, None)) if output else None
    return Answer(meters, raw_usage=data.usage, model=getattr(data, "model", None), output=output, text=text)
