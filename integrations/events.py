"""Frameworks that tell what happens by events, a start and an end with a common key: spans that are open in between.

A span opened here is current in the context of its start event, so that what the framework calls next nests under it;
a model call is announced there, so that the hook of the client beneath gives it what it knows.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.trace import SpanKind

from inferometer.schema import attributes as names
from inferometer.tracer import recording
from inferometer.tracer.activity import Activity, Plan
from inferometer.tracer.calls import Answer, InferenceCall, Request, begin
from inferometer.tracer.completion import describe_tool_call
from inferometer.tracer.guard import report

_OPERATIONS = {
    # kind: (operation, attribute that names it)
    "agent": ("invoke_agent", names.AGENT_NAME),
    "workflow": ("invoke_workflow", names.WORKFLOW_NAME),
    "tool": ("execute_tool", names.TOOL_NAME),
    "retrieval": ("retrieval", None),
    "step": (None, None),
}
OPEN_AT_MOST = 10_000
"""Spans kept open; a framework that never tells of an end must not fill the memory."""


class OpenSpans:
    """Spans by the key of their events."""

    def __init__(self) -> None:
        self._activities: dict[Hashable, Activity] = {}
        self._calls: dict[Hashable, InferenceCall] = {}

    def start(self, key: Hashable, kind: str, name: str, attributes: dict[str, Any] | None = None) -> None:
        """Open a span of a kind (agent, workflow, step, tool, retrieval).

        Raises:
            BudgetExceeded: where a tool call would break a budget; nothing else.
        """
        operation, attribute = _OPERATIONS[kind]
        said: dict[str, Any] = {names.KIND: kind, **(attributes or {})}
        if operation is not None:
            said[names.OPERATION] = operation
        if attribute is not None:
            said[attribute] = name
        label = name if operation is None else f"{operation} {name}"
        activity = Activity(Plan(kind, label, name, SpanKind.INTERNAL, said, None, None))
        activity.open()
        if len(self._activities) < OPEN_AT_MOST:
            self._activities[key] = activity
        else:
            activity.close(None)

    def end(self, key: Hashable, error: BaseException | str | None = None) -> None:
        """Close a span; an error may be the name of its type."""
        activity = self._activities.pop(key, None)
        if activity is None:
            return
        if isinstance(error, str):
            activity.span.set_attribute(names.ERROR_TYPE, error)
            error = None
        activity.close(error)

    def end_tool(self, key: Hashable, arguments: Any, result: Any, error: BaseException | str | None = None) -> None:
        """Close a tool's span with what it was called with and what it returned."""
        activity, now = self._activities.get(key), recording.active
        if activity is not None and now is not None and activity.span.is_recording():
            try:
                said: dict[str, Any] = {}
                name = recording.span_attributes(activity.span).get(names.TOOL_NAME, "")
                describe_tool_call(said, str(name), arguments, None if error is not None else result, now.privacy)
                activity.span.set_attributes(said)
            except Exception as failure:
                report("tool event", failure)
        self.end(key, error)

    def start_call(self, key: Hashable, request: Request) -> None:
        """Begin a model call and announce it.

        Raises:
            BudgetExceeded: where a budget around it leaves no room; nothing else.
        """
        call = begin(request)
        if call is not None and len(self._calls) < OPEN_AT_MOST:
            self._calls[key] = call
            call.announce()

    def call(self, key: Hashable) -> InferenceCall | None:
        """Return a call that is open."""
        return self._calls.get(key)

    def end_call(self, key: Hashable, answer: Answer, error: BaseException | str | None = None) -> None:
        """End a model call; an error may be the name of its type."""
        call = self._calls.pop(key, None)
        if call is None:
            return
        if isinstance(error, str):
            call.span.set_attribute(names.ERROR_TYPE, error)
            call.finish(answer)
        elif error is not None:
            call.fail(error, answer)
        else:
            call.finish(answer)

    def suspend(self, key: Hashable) -> None:
        """Make a span that stays open no longer current."""
        if (activity := self._activities.get(key)) is not None:
            activity.suspend()

    @contextmanager
    def within(self, key: Hashable) -> Iterator[None]:
        """Make a suspended span current for a block."""
        activity = self._activities.get(key)
        if activity is None:
            yield
            return
        activity.resume()
        try:
            yield
        finally:
            activity.suspend()

    def annotate(self, key: Hashable, attributes: dict[str, Any]) -> None:
        """Add attributes to an open span."""
        if (activity := self._activities.get(key)) is not None and activity.span.is_recording():
            activity.span.set_attributes(attributes)

    def close(self) -> None:
        """End whatever is open, as when a hook is taken back."""
        for key in list(self._calls):
            self.end_call(key, Answer())
        for key in list(self._activities):
            self.end(key)
