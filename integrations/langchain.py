"""LangChain and LangGraph, through their callbacks: graphs, nodes, tools, retrievers and model calls.

Of the many runs that they tell of, those that mean something become spans: the outermost is the agent, a graph's node
is a step; chains in between are passed over.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any
from uuid import UUID

from inferometer.integrations.base import Integration, Patches, field
from inferometer.integrations.events import OpenSpans
from inferometer.schema import attributes as names
from inferometer.schema.errors import BudgetExceeded
from inferometer.schema.meters import Meters
from inferometer.tracer.calls import Answer, Request
from inferometer.tracer.exchange import from_cache
from inferometer.tracer.guard import report

_PROVIDERS = {
    "openai": "openai",
    "azure": "azure.ai.openai",
    "anthropic": "anthropic",
    "google_genai": "gcp.gemini",
    "google_vertexai": "gcp.vertex_ai",
    "amazon_bedrock": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
}


class LangChainIntegration(Integration):
    """Traces LangChain and LangGraph."""

    name = "langchain"
    module = "langchain_core"
    distribution = "langchain-core"
    minimum = (0, 3)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Have a handler of ours added to every callback manager; uninstrumenting leaves it out again."""
        callbacks = import_module("langchain_core.callbacks")
        handler = type("Handler", (_Listener, callbacks.BaseCallbackHandler), {})()

        def make(original: Any) -> Any:
            def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
                original(self, *args, **kwargs)
                if not any(isinstance(one, type(handler)) for one in self.inheritable_handlers):
                    self.add_handler(handler, True)

            return __init__

        patches.on_undo(handler.stop)
        return patches.wrap(callbacks.BaseCallbackManager, "__init__", make)


def integration() -> Integration:
    """Return the hook."""
    return LangChainIntegration()


def _guarded(handle: Any) -> Any:
    def guarded(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            handle(self, *args, **kwargs)
        except BudgetExceeded:
            raise
        except Exception as error:
            report(f"langchain {handle.__name__}", error)

    return guarded


class _Listener:
    """Listens to runs; it runs inline, so that what it makes current is current for what runs next."""

    run_inline = True
    raise_error = True  # a budget must be heard; all else is caught before it gets there

    def __init__(self) -> None:
        self._open = OpenSpans()
        self._arguments: dict[UUID, Any] = {}

    def stop(self) -> None:
        self._open.close()
        self._arguments.clear()

    @_guarded
    def on_chain_start(
        self, serialized: Any, inputs: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **more: Any
    ) -> None:
        node = (more.get("metadata") or {}).get("langgraph_node")
        name = str(more.get("name") or (serialized or {}).get("name") or "chain")
        if parent_run_id is None:
            thread = (more.get("metadata") or {}).get("thread_id")
            self._open.start(run_id, "agent", name, {names.CONVERSATION_ID: str(thread)} if thread else None)
        elif node is not None and name == node:
            self._open.start(run_id, "step", name)

    @_guarded
    def on_chain_end(self, outputs: Any, *, run_id: UUID, **more: Any) -> None:
        self._open.end(run_id)

    @_guarded
    def on_chain_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        self._open.end(run_id, _failure(error))

    @_guarded
    def on_tool_start(self, serialized: Any, input_str: str, *, run_id: UUID, inputs: Any = None, **more: Any) -> None:
        name = str(more.get("name") or (serialized or {}).get("name") or "tool")
        self._arguments[run_id] = inputs if inputs is not None else input_str
        attributes: dict[str, Any] = {names.TOOL_TYPE: "function"}
        if (call_id := more.get("tool_call_id")) is not None:
            attributes[names.TOOL_CALL_ID] = str(call_id)
        self._open.start(run_id, "tool", name, attributes)

    @_guarded
    def on_tool_end(self, output: Any, *, run_id: UUID, **more: Any) -> None:
        content = field(output, "content")
        self._open.end_tool(run_id, self._arguments.pop(run_id, None), output if content is None else content)

    @_guarded
    def on_tool_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        self._open.end_tool(run_id, self._arguments.pop(run_id, None), None, error)

    @_guarded
    def on_retriever_start(self, serialized: Any, query: str, *, run_id: UUID, **more: Any) -> None:
        self._open.start(run_id, "retrieval", str(more.get("name") or "retriever"))

    @_guarded
    def on_retriever_end(self, documents: Any, *, run_id: UUID, **more: Any) -> None:
        self._open.end(run_id)

    @_guarded
    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        self._open.end(run_id, error)

    @_guarded
    def on_chat_model_start(self, serialized: Any, messages: Any, *, run_id: UUID, **more: Any) -> None:
        self._start_call(run_id, "chat", messages[0] if messages else None, more)

    @_guarded
    def on_llm_start(self, serialized: Any, prompts: Any, *, run_id: UUID, **more: Any) -> None:
        self._start_call(run_id, "text_completion", prompts[0] if prompts else None, more)

    def _start_call(self, run_id: UUID, operation: str, messages: Any, more: dict[str, Any]) -> None:
        self._open.start_call(run_id, _request_of(operation, messages, more))

    @_guarded
    def on_llm_new_token(self, token: Any, *, run_id: UUID, **more: Any) -> None:
        call = self._open.call(run_id)
        if call is not None and call.is_open:
            call.chunk()

    @_guarded
    def on_llm_end(self, response: Any, *, run_id: UUID, **more: Any) -> None:
        try:
            answer = _answer_of(response)
        except Exception as error:
            report("langchain answer", error)
            answer = Answer()
        self._open.end_call(run_id, answer)

    @_guarded
    def on_llm_error(self, error: BaseException, *, run_id: UUID, **more: Any) -> None:
        self._open.end_call(run_id, Answer(), error)


def _failure(error: BaseException) -> BaseException | None:
    # LangGraph steers by exceptions that are no failures
    return None if type(error).__name__ in ("GraphInterrupt", "ParentCommand", "GraphBubbleUp") else error


def _request_of(operation: str, messages: Any, more: dict[str, Any]) -> Request:
    metadata, settings = more.get("metadata") or {}, more.get("invocation_params") or {}
    provider = str(metadata.get("ls_provider") or "") or None
    parameters = {}
    for key, name in (("ls_temperature", names.REQUEST_TEMPERATURE), ("ls_max_tokens", names.REQUEST_MAX_TOKENS)):
        if isinstance(metadata.get(key), (int, float)):
            parameters[name] = metadata[key]
    model = metadata.get("ls_model_name") or settings.get("model") or settings.get("model_name")
    return Request(
        operation,
        _PROVIDERS.get(provider, provider) if provider else None,
        str(model) if model else None,
        parameters=parameters,
        messages=messages,
        tools=settings.get("tools"),
        stream=bool(settings.get("stream")),
    )


def _answer_of(response: Any) -> Answer:
    generation = response.generations[0][0] if response.generations and response.generations[0] else None
    message = field(generation, "message")
    said = field(message, "response_metadata") or field(generation, "generation_info") or {}
    usage = field(message, "usage_metadata")
    finish = said.get("finish_reason") or said.get("stop_reason")
    answer = Answer(
        meters_of(usage),
        raw_usage=usage,
        response_id=said.get("id") or field(message, "id"),
        model=said.get("model_name") or said.get("model"),
        finish_reasons=[str(finish)] if finish else [],
        service_tier=said.get("service_tier"),
        output=field(message, "content") or field(generation, "text"),
    )
    # an answer of LangChain's cache tells its usage again, and that it costs nothing; providers tell no cost
    return from_cache(answer) if usage and usage.get("total_cost") == 0 else answer


def meters_of(usage: Any) -> Meters | None:
    """Return meters of LangChain's ``usage_metadata``: input and output are inclusive, details are parts of them."""
    if not usage:
        return None
    inside, outside = usage.get("input_token_details") or {}, usage.get("output_token_details") or {}
    read = inside.get("cache_read")
    five, hour = inside.get("ephemeral_5m_input_tokens"), inside.get("ephemeral_1h_input_tokens")
    created = inside.get("cache_creation")
    if five or hour:
        created = (five or 0) + (hour or 0)
    else:
        five = created
    given = usage.get("input_tokens")
    return Meters(
        input_fresh=None if given is None else max(0, given - (read or 0) - (created or 0)),
        cache_read=read,
        cache_write_5m=five,
        cache_write_1h=hour,
        output=usage.get("output_tokens"),
        reasoning=outside.get("reasoning"),
        input_audio=inside.get("audio"),
        output_audio=outside.get("audio"),
    )
