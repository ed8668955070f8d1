"""One call of something decorated: its span, its place in the context, its end."""

from __future__ import annotations

from contextvars import Token
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode

from inferometer.schema import attributes as names
from inferometer.schema.errors import BudgetExceeded
from inferometer.tracer import recording
from inferometer.tracer.arguments import CallArguments, is_plain
from inferometer.tracer.budget import Budget, Spending
from inferometer.tracer.counts import CallCounts
from inferometer.tracer.frames import FRAME_KEY, ROOT, Frame
from inferometer.tracer.guard import report
from inferometer.tracer.privacy import to_json
from inferometer.tracer.recording import SPAN_KEY, Recording
from inferometer.tracer.span import qualified_name

if TYPE_CHECKING:
    from inferometer.tracer.span import Work

_runtime_context = getattr(otel_context, "_RUNTIME_CONTEXT", None)
CANCELLED = ("CancelledError", "GeneratorExit")


class Plan:
    """What is known of a span before its call."""

    __slots__ = ("arguments", "attributes", "budget", "kind", "label", "name", "opens_frame", "otel_kind")

    def __init__(
        self,
        kind: str,
        label: str,
        name: str,
        otel_kind: SpanKind,
        attributes: dict[str, Any],
        budget: Budget | None,
        arguments: CallArguments | None,
    ) -> None:
        self.kind = kind
        self.label = label
        self.name = name
        self.otel_kind = otel_kind
        self.attributes = attributes
        self.budget = budget
        self.arguments = arguments
        self.opens_frame = kind in ("agent", "workflow")


def attach(context: Context) -> Token[Context]:
    """Make a context current."""
    return otel_context.attach(context)


def detach(token: Token[Context]) -> None:
    """Restore the context before `token`.

    A coroutine or generator that is closed from another task cannot do that, and need not: its context goes with it.
    The API would log an error there, so it is asked beneath.
    """
    try:
        if _runtime_context is not None:
            _runtime_context.detach(token)
        else:
            otel_context.detach(token)
    except ValueError:
        pass


class Activity:
    """A span from ``open`` to ``close``; ``suspend`` and ``resume`` bracket what must not see it as current."""

    __slots__ = ("_args", "_context", "_counts", "_inherited", "_kwargs", "_plan", "_recording", "_token", "span")

    def __init__(self, plan: Plan, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        self._plan = plan
        self._args = args
        self._kwargs = kwargs
        self._recording: Recording | None = None
        self._token: Token[Context] | None = None
        self._context: Context | None = None
        self._counts: CallCounts | None = None
        self._inherited: dict[str, Any] = ROOT.attributes
        self.span: Span = INVALID_SPAN

    def open(self) -> Span:
        """Start the span and make it current.

        Raises:
            BudgetExceeded: where this call would break a budget that the program has set; nothing else.
        """
        try:
            self._open()
        except BudgetExceeded:
            raise
        except Exception as error:
            report("span start", error)
        return self.span

    def _open(self) -> None:
        plan = self._plan
        context = otel_context.get_current()
        frame = context.get(FRAME_KEY, ROOT)
        assert isinstance(frame, Frame)
        self._inherited = frame.attributes
        if plan.kind == "tool":
            self._count_tool_call(frame)
        now = self._recording = recording.active
        values: dict[str, Any] = dict(context)
        if now is not None:
            attributes = plan.attributes.copy()
            if frame.attributes:
                attributes.update(frame.attributes)
            self.span = now.start(plan.label, plan.otel_kind, attributes, context)
            values[SPAN_KEY] = self.span
        if plan.opens_frame:
            values[FRAME_KEY] = self._frame_below(frame)
        self._context = Context(values)
        self._token = otel_context.attach(self._context)

    def _frame_below(self, frame: Frame) -> Frame:
        plan = self._plan
        counts = self._counts = CallCounts.below(frame.counts, is_workflow=plan.kind == "workflow")
        spending = None if plan.budget is None else Spending(plan.name, plan.budget, frame.budget)
        return frame.under(spending, counts)

    def _count_tool_call(self, frame: Frame) -> None:
        if frame.counts is not None:
            frame.counts.count_tool_call()
        budget = frame.budget
        if budget is not None and budget.counts_repeats and self._plan.arguments is not None:
            from inferometer.tracer.completion import fingerprint_of

            named = self._plan.arguments.named(self._args, self._kwargs or {})
            found = fingerprint_of(self._plan.name, named)
            if found is not None:
                budget.repeat(found, self._plan.name)

    def suspend(self) -> None:
        """Put back the caller's context, remembering what is current in here."""
        token, self._token = self._token, None
        if token is not None:
            self._context = otel_context.get_current()
            detach(token)

    def resume(self) -> None:
        """Make current again what was when suspended."""
        if self._token is None and self._context is not None:
            self._token = otel_context.attach(self._context)

    def close(self, error: BaseException | None, result: Any = None) -> None:
        """End the span, saying how it went; never raises."""
        try:
            token, self._token = self._token, None
            inherited = None
            if token is not None:
                inherited = otel_context.get_current().get(FRAME_KEY, ROOT).attributes  # type: ignore[attr-defined]
                detach(token)
            now, span = self._recording, self.span
            if now is None:
                return
            if inherited is not None and inherited is not self._inherited:
                # what was stated in the body and still held at its end is said of this span, too
                known = self._inherited
                span.set_attributes({key: value for key, value in inherited.items() if known.get(key) != value})
            if error is not None:
                mark_error(span, error)
            if self._counts is not None:
                span.set_attribute(names.INFERENCE_CALLS, self._counts.inferences)
                span.set_attribute(names.TOOL_CALLS, self._counts.tool_calls)
            now.end(span, self._work(now, result) if span.is_recording() else None)
        except Exception as failure:
            report("span end", failure)

    def _work(self, now: Recording, result: Any) -> Work | None:
        privacy, plan = now.privacy, self._plan
        arguments = plan.arguments
        if arguments is None or not privacy.keeps_metadata or not (plan.kind == "tool" or privacy.keeps_content):
            return None
        args, kwargs = self._args, self._kwargs or {}
        from inferometer.tracer.completion import call_work

        # what can change after the call is written down now; the rest of the work waits for the export thread
        named: Any = None
        if not is_plain(args, kwargs):
            named = to_json(arguments.named(args, kwargs))
        if not is_plain((result,), {}):
            result = to_json(result)
        return call_work(plan, lambda: arguments.named(args, kwargs) if named is None else named, result, privacy)


def mark_error(span: Span, error: BaseException) -> None:
    """Say on a span how a call failed, by type alone: a message may quote content."""
    name = qualified_name(type(error))
    if type(error).__name__ in CANCELLED:
        span.set_attribute(names.ERROR_TYPE, name)
        return
    if isinstance(error, BudgetExceeded):
        span.set_attribute(names.BUDGET_EXCEEDED, error.limit)
    span.set_attribute(names.ERROR_TYPE, name)
    span.set_status(StatusCode.ERROR, name)
