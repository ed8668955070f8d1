"""LiteLLM: completion, text completion and embedding, sync and async, streams, with the cost that it works out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from inferometer.integrations.base import Integration, Patches, field
from inferometer.integrations.openai_bodies import CHAT, EMBEDDINGS, ChatAccumulator, parameters_of, read_body
from inferometer.integrations.streams import AsyncStreamWatch, Hidden, StreamProxy, StreamWatch
from inferometer.schema import attributes as names
from inferometer.tracer.calls import Answer, InferenceCall, Request, begin
from inferometer.tracer.exchange import from_cache
from inferometer.tracer.guard import report

_FUNCTIONS = {
    # function: (operation, whether it is a coroutine function)
    "completion": ("chat", False),
    "acompletion": ("chat", True),
    "text_completion": ("text_completion", False),
    "atext_completion": ("text_completion", True),
    "embedding": ("embeddings", False),
    "aembedding": ("embeddings", True),
}
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "vertex_ai": "gcp.vertex_ai",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
    "together_ai": "together",
}


class LiteLLMIntegration(Integration):
    """Traces LiteLLM's functions; a client's hook beneath adds attempts and exact usage to the same span."""

    name = "litellm"
    module = "litellm"
    distribution = "litellm"
    minimum = (1, 60)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Patch the functions of the package."""
        found = False
        for name, (operation, is_async) in _FUNCTIONS.items():
            make = partial(_hook_async if is_async else _hook, litellm=module, operation=operation)
            found = patches.wrap(module, name, make) or found
        return found


def integration() -> Integration:
    """Return the hook."""
    return LiteLLMIntegration()


def _hook(original: Callable[..., Any], litellm: Any, operation: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        provider, model = _provider(litellm, args, kwargs)
        call = _begin(operation, provider, model, args, kwargs)
        if call is None:
            return original(*args, **kwargs)
        hidden = _ask_for_usage(kwargs)
        tokens = call.enter()
        try:
            try:
                response = original(*args, **kwargs)
            except Exception as error:
                if hidden is None or not _refused(error, kwargs):
                    raise
                hidden = None
                response = original(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.leave(tokens)
        return _observe(call, operation, response, hidden, StreamWatch)

    return function


def _hook_async(original: Callable[..., Any], litellm: Any, operation: str) -> Callable[..., Any]:
    async def function(*args: Any, **kwargs: Any) -> Any:
        provider, model = _provider(litellm, args, kwargs)
        call = _begin(operation, provider, model, args, kwargs)
        if call is None:
            return await original(*args, **kwargs)
        hidden = _ask_for_usage(kwargs)
        tokens = call.enter()
        try:
            try:
                response = await original(*args, **kwargs)
            except Exception as error:
                if hidden is None or not _refused(error, kwargs):
                    raise
                hidden = None
                response = await original(*args, **kwargs)
        except BaseException as error:
            call.fail(error)
            raise
        finally:
            call.leave(tokens)
        return _observe(call, operation, response, hidden, AsyncStreamWatch)

    return function


def _provider(litellm: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str | None, str | None]:
    """Return LiteLLM's name of the provider, and the model without it; what it cannot tell is None."""
    model = kwargs.get("model", args[0] if args else None)
    try:
        found, provider, *_ = litellm.get_llm_provider(model, kwargs.get("custom_llm_provider"), kwargs.get("api_base"))
        return str(provider), str(found)
    except Exception:
        return None, None if model is None else str(model)


def provider_of(prefix: str) -> str:
    """Return the convention's name of the provider that LiteLLM, and DSPy after it, writes before a model's."""
    return _PROVIDERS.get(prefix, prefix)


def _begin(
    operation: str, provider: str | None, model: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> InferenceCall | None:
    try:
        request = Request(
            operation,
            provider_of(provider) if provider else None,
            model,
            parameters=parameters_of(CHAT, kwargs),
            messages=kwargs.get("messages", args[1] if len(args) > 1 else kwargs.get("input", kwargs.get("prompt"))),
            tools=kwargs.get("tools"),
            stream=bool(kwargs.get("stream")),
        )
    except Exception as error:
        report("litellm request", error)
        return None
    return begin(request)


def _ask_for_usage(kwargs: dict[str, Any]) -> Hidden | None:
    """Ask for a stream's usage where the program does not say whether it wants it; LiteLLM asks in its way."""
    if not kwargs.get("stream") or kwargs.get("stream_options") is not None:
        return None
    kwargs["stream_options"] = {"include_usage": True}
    return _carries_only_usage


def _refused(error: Exception, kwargs: dict[str, Any]) -> bool:
    """Whether a provider refused what was asked; it is then asked as the program wrote it."""
    if "stream_options" not in str(error):
        return False
    kwargs.pop("stream_options", None)
    return True


def _carries_only_usage(chunk: Any) -> bool:
    if field(chunk, "usage") is None:
        return False
    for choice in field(chunk, "choices") or ():
        delta = field(choice, "delta")
        if field(choice, "finish_reason") or field(delta, "content") or field(delta, "tool_calls"):
            return False
    return True


def _observe(
    call: InferenceCall,
    operation: str,
    response: Any,
    hidden: Hidden | None,
    watch: type[StreamWatch] | type[AsyncStreamWatch],
) -> Any:
    try:
        if hasattr(response, "completion_stream"):
            return StreamProxy(response, watch(call, _Accumulator(response), hidden))
        answer = read_body(EMBEDDINGS if operation == "embeddings" else CHAT, response)
        call.finish(_with_hidden(answer, response))
    except Exception as error:
        report("litellm response", error)
        call.finish(Answer())
    return response


def _with_hidden(answer: Answer, response: Any, *, streamed: bool = False) -> Answer:
    """Return an answer with what LiteLLM says beside it: its cost, or that its cache gave it."""
    hidden = getattr(response, "_hidden_params", None)
    hidden = hidden if isinstance(hidden, dict) else {}
    if hidden.get("cache_hit") is True:
        return from_cache(answer)
    cost = hidden.get("response_cost")
    if isinstance(cost, (int, float)) and (cost > 0 or not streamed):
        answer.attributes = {**(answer.attributes or {}), names.RECORDED_COST_USD: str(cost)}
    return answer


class _Accumulator(ChatAccumulator):
    def __init__(self, response: Any) -> None:
        super().__init__()
        self._response = response

    def answer(self) -> Answer:
        # of a stream, the cost is 0.0 until LiteLLM has added it up, which is later than this
        return _with_hidden(super().answer(), self._response, streamed=True)
