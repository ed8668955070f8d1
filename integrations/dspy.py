"""DSPy: modules and tools through OpenInference, whose spans of it tell no tokens; model calls at DSPy's own engine.

From 3.4 on DSPy talks to most providers itself. Its engine makes one attempt at one request, beneath its cache and its
retries, and its answer holds the provider's own. What goes through LiteLLM instead is traced by the hook for that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from opentelemetry import trace

from inferometer.integrations.base import Integration, Patches
from inferometer.integrations.litellm import provider_of
from inferometer.integrations.openinference import OpenInferenceIntegration
from inferometer.integrations.sending import streamed, streamed_async, whole, whole_async
from inferometer.schema import attributes as names
from inferometer.schema.usage.body import BodyUsage
from inferometer.schema.usage.endpoints import READERS
from inferometer.schema.usage.shapes import interface_of
from inferometer.tracer import recording
from inferometer.tracer.calls import Answer, InferenceCall, Request, begin
from inferometer.tracer.guard import report

ENGINES = "dspy.clients.engines.lm15_engine"
_CALLS = ("LLM", "EMBEDDING")
_PARAMETERS = {
    "max_tokens": names.REQUEST_MAX_TOKENS,
    "temperature": names.REQUEST_TEMPERATURE,
    "top_p": names.REQUEST_TOP_P,
    "top_k": names.REQUEST_TOP_K,
    "frequency_penalty": names.REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.REQUEST_PRESENCE_PENALTY,
    "seed": names.REQUEST_SEED,
}


class DspyIntegration(OpenInferenceIntegration):
    """Traces DSPy: its model calls always, the rest where ``openinference-instrumentation-dspy`` is installed."""

    name = "dspy"
    module = "dspy"
    distribution = "dspy"
    instrumentor = ("openinference.instrumentation.dspy", "DSPyInstrumentor")
    installed = Integration.installed

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the engines when DSPy first makes a call, and put the instrumentor in place."""
        patches.when_imported(ENGINES, _patch_engines)
        patches.when_imported("dspy.clients.cache", _patch_cache)
        self.put_in_place(patches)
        return True


def integration() -> DspyIntegration:
    """Return the hook."""
    return DspyIntegration()


def _patch_engines(module: Any, patches: Patches) -> None:
    patches.wrap(module.LM15Engine, "complete", whole(_begin, _observe))
    patches.wrap(module.LM15Engine, "stream", streamed(_begin_streamed, EventAccumulator))
    patches.wrap(module.AsyncLM15Engine, "complete", whole_async(_begin, _observe))
    patches.wrap(module.AsyncLM15Engine, "stream", streamed_async(_begin_streamed, EventAccumulator))


def _patch_cache(module: Any, patches: Patches) -> None:
    patches.wrap(module.Cache, "get", _hook_get)


def _hook_get(original: Callable[..., Any]) -> Callable[..., Any]:
    """Mark the span that stands for a model call where the cache has answered it."""

    def get(*args: Any, **kwargs: Any) -> Any:
        found = original(*args, **kwargs)
        if found is not None:
            span = trace.get_current_span()
            if recording.span_attributes(span).get("openinference.span.kind") in _CALLS:
                span.set_attribute(names.FROM_CACHE, True)
        return found

    return get


def _begin(engine: Any, request: Any, stream: bool = False) -> InferenceCall | None:
    try:
        prefix, slash, model = request.model.partition("/")
        config = request.config
        said = {name: getattr(config, key, None) for key, name in _PARAMETERS.items()}
        asked = Request(
            "chat",
            provider_of(prefix) if slash else None,
            model if slash else request.model,
            parameters={name: value for name, value in said.items() if value is not None},
            system=request.system,
            messages=request.messages,
            tools=request.tools,
            stream=stream,
        )
    except Exception as error:
        report("dspy request", error)
        return None
    return begin(asked)


_begin_streamed = partial(_begin, stream=True)


def _observe(call: InferenceCall, response: Any, *args: Any) -> Any:
    call.finish(lambda: _answer_of(response.provider_data))
    return response


def _answer_of(body: Any, text: str | None = None) -> Answer:
    """Return what the provider's own answer says, whichever provider it was."""
    interface = interface_of(body) if isinstance(body, dict) else None
    read = READERS[interface][0](body) if interface is not None else BodyUsage()
    return Answer(
        read.meters if read.meters.is_known else None,
        raw_usage=read.raw,
        response_id=read.response_id,
        model=read.model,
        finish_reasons=[read.finish_reason] if read.finish_reason else [],
        service_tier=read.service_tier,
        output=text or body,
        text=text or "".join(read.texts),
        fees=read.fees,
    )


class EventAccumulator:
    """Events of a streamed answer; the last holds what the provider said at its end."""

    def __init__(self) -> None:
        self._body: Any = None
        self._text: list[str] = []

    def add(self, chunk: Any) -> bool:
        """Take one event and return whether it carried content."""
        if chunk.type == "end":
            self._body = chunk.provider_data
        text = getattr(getattr(chunk, "delta", None), "text", None)
        if isinstance(text, str) and text:
            self._text.append(text)
            return True
        return False

    def answer(self) -> Answer:
        """Return what has come so far."""
        return _answer_of(self._body, "".join(self._text))
