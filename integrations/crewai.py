"""CrewAI, through its event bus: crews, agents, tasks, tools and model calls.

The bus runs listeners on threads of its own; ours looks at each event where it is emitted, so that spans nest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from inferometer.integrations.base import Integration, Patches, field
from inferometer.integrations.events import OpenSpans
from inferometer.schema import attributes as names
from inferometer.schema.errors import BudgetExceeded
from inferometer.schema.meters import Meters
from inferometer.tracer.calls import Answer, Request
from inferometer.tracer.guard import report

_STARTS = {
    # event: (kind, what names it)
    "crew_kickoff_started": ("workflow", "crew_name"),
    "task_started": ("step", "task_name"),
    "agent_execution_started": ("agent", "agent_role"),
    "lite_agent_execution_started": ("agent", "agent_role"),
    "tool_usage_started": ("tool", "tool_name"),
    "flow_started": ("workflow", "flow_name"),
}
_ENDS = {
    "crew_kickoff_completed": "crew_kickoff_started",
    "crew_kickoff_failed": "crew_kickoff_started",
    "task_completed": "task_started",
    "task_failed": "task_started",
    "agent_execution_completed": "agent_execution_started",
    "agent_execution_error": "agent_execution_started",
    "lite_agent_execution_completed": "lite_agent_execution_started",
    "lite_agent_execution_error": "lite_agent_execution_started",
    "tool_usage_finished": "tool_usage_started",
    "tool_usage_error": "tool_usage_started",
    "flow_finished": "flow_started",
}


class CrewAIIntegration(Integration):
    """Traces CrewAI."""

    name = "crewai"
    module = "crewai"
    distribution = "crewai"
    minimum = (1, 0)

    def hook(self, module: Any, patches: Patches) -> bool | None:
        """Look at every event that is emitted."""
        bus = import_module("crewai.events.event_bus") if "crewai" in sys.modules else None
        listener = _Listener()
        patches.on_undo(listener.stop)
        return patches.wrap(type(bus.crewai_event_bus), "emit", listener.hook) if bus is not None else False


def integration() -> Integration:
    """Return the hook."""
    return CrewAIIntegration()


class _Listener:
    def __init__(self) -> None:
        self._open = OpenSpans()
        self._keys: dict[tuple[str, Any], list[Any]] = {}

    def stop(self) -> None:
        self._open.close()
        self._keys.clear()

    def hook(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def emit(bus: Any, source: Any, event: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                self._see(source, event)
            except BudgetExceeded:
                raise
            except Exception as error:
                report("crewai event", error)
            return original(bus, source, event, *args, **kwargs)

        return emit

    def _see(self, source: Any, event: Any) -> None:
        kind = str(field(event, "type"))
        if kind.startswith("flow_") and type(source).__module__.startswith("crewai."):
            return  # an agent's own loop is a flow as well
        if kind in _STARTS:
            what, attribute = _STARTS[kind]
            name = str(_name(event, attribute) or what).strip()
            key = object()
            self._keys.setdefault((kind, _subject(kind, source, event)), []).append(key)
            self._open.start(key, what, name)
        elif kind in _ENDS:
            started = _ENDS[kind]
            waiting = self._keys.get((started, _subject(started, source, event)))
            if waiting:
                self._end(kind, waiting.pop(), event)
        elif kind == "llm_call_started":
            self._open.start_call(event.call_id, _request_of(source, event))
        elif kind == "llm_call_completed":
            self._open.end_call(event.call_id, _answer_of(event))
        elif kind == "llm_call_failed":
            self._open.end_call(event.call_id, Answer(), "LLMCallFailed")
        elif kind == "llm_stream_chunk" and (call := self._open.call(event.call_id)) is not None and call.is_open:
            call.chunk()

    def _end(self, kind: str, key: Any, event: Any) -> None:
        failed = kind.endswith(("_failed", "_error"))
        error = type(field(event, "error")).__name__ if failed else None
        if kind.startswith("tool"):
            self._open.end_tool(key, field(event, "tool_args"), field(event, "output"), error)
        else:
            self._open.end(key, error)


def _subject(kind: str, source: Any, event: Any) -> Any:
    """Return what a start and its end have in common."""
    if kind == "tool_usage_started":
        return (field(event, "tool_name"), str(field(event, "tool_args")))
    return id(source)


def _name(event: Any, attribute: str) -> Any:
    found = field(event, attribute)
    if found is None:
        found = field(
            field(event, "agent") or field(event, "agent_info") or field(event, "task"), attribute.partition("_")[2]
        )
    return found


def _request_of(source: Any, event: Any) -> Request:
    model = str(field(event, "model") or field(source, "model") or "") or None
    provider = str(field(source, "provider") or "") or None
    wanted = {
        "temperature": names.REQUEST_TEMPERATURE,
        "top_p": names.REQUEST_TOP_P,
        "max_tokens": names.REQUEST_MAX_TOKENS,
        "seed": names.REQUEST_SEED,
    }
    parameters = {name: value for key, name in wanted.items() if isinstance(value := field(event, key), (int, float))}
    return Request(
        "chat",
        provider,
        model,
        parameters=parameters,
        messages=field(event, "messages"),
        tools=field(event, "tools"),
        stream=bool(field(event, "stream")),
    )


def _answer_of(event: Any) -> Answer:
    finish = field(event, "finish_reason")
    return Answer(
        meters_of(field(event, "usage")),
        raw_usage=field(event, "usage"),
        response_id=field(event, "response_id"),
        finish_reasons=[finish] if finish else [],
        output=field(event, "response"),
    )


def meters_of(usage: Any) -> Meters | None:
    """Return meters of CrewAI's usage: prompt tokens hold the cached ones."""
    if not usage or not (usage.get("prompt_tokens") or usage.get("completion_tokens")):
        return None
    cached = usage.get("cached_prompt_tokens") or usage.get("cached_tokens")
    written = usage.get("cache_creation_tokens")
    return Meters(
        input_fresh=max(0, (usage.get("prompt_tokens") or 0) - (cached or 0) - (written or 0)),
        cache_read=cached,
        cache_write_5m=written,
        output=usage.get("completion_tokens"),
        reasoning=usage.get("reasoning_tokens"),
    )
