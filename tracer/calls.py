"""One model call as a hook sees it: request, attempts, chunks, usage, end.

A hook asks `begin` for a call before it sends and tells it what happens; the call decides what a span may say about it.
Nothing here raises but `BudgetExceeded`, from `begin`.
"""

from __future__ import annotations

import time
from contextvars import ContextVar, Token
from functools import partial
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from inferometer.schema import attributes as names
from inferometer.tracer import recording
from inferometer.tracer.activity import detach, mark_error
from inferometer.tracer.budget import Reservation
from inferometer.tracer.description import (
    describe_answer,
    describe_attempts,
    describe_chunks,
    describe_parameters,
    request_attributes,
    text_length,
)
from inferometer.tracer.exchange import Answer, LateAnswer, Request, read_answer
from inferometer.tracer.frames import FRAME_KEY, ROOT, Frame
from inferometer.tracer.guard import report
from inferometer.tracer.privacy import Privacy
from inferometer.tracer.recording import SPAN_KEY, Recording
from inferometer.tracer.span import LeanSpan
from inferometer.tracer.suppression import SUPPRESSING, is_suppressed

current_call: ContextVar[InferenceCall | None] = ContextVar("inferometer-call", default=None)
"""The call whose HTTP attempts are being sent in this context."""


class InferenceCall:
    """One model call in flight; made by `begin`, ended once by `finish`, `fail` or `abort`."""

    __slots__ = (
        "_attempts",
        "_chunk_ns",
        "_recording",
        "_request",
        "_reservation",
        "_start_ns",
        "ended",
        "inner",
        "span",
    )

    def __init__(self, now: Recording | None, request: Request, span: Span, reservation: Reservation | None) -> None:
        self._recording = now
        self._request = request
        self._reservation = reservation
        self._start_ns = time.perf_counter_ns()
        self._chunk_ns: list[int] = []
        self._attempts: list[tuple[int, int, int]] = []
        self.span = span
        self.ended = False
        self.inner: LateAnswer = None

    @property
    def is_open(self) -> bool:
        """Whether a client's hook beneath may take this call for its own."""
        return not self.ended and self.inner is None

    def enter(self) -> tuple[Token[Context] | None, Token[InferenceCall | None] | None]:
        """Make the call's span current while its request is sent; give what it returns to `leave`."""
        try:
            context = otel_context.get_current()
            if self._recording is not None:
                context = Context(context, **{SPAN_KEY: self.span, **SUPPRESSING})
            return otel_context.attach(context), current_call.set(self)
        except Exception as error:
            report("call context", error)
            return None, None

    def announce(self) -> None:
        """Let a client's hook beneath find this call, where a framework's callback cannot bracket the sending.

        It stays announced in this context until it has ended or a client beneath has answered it.
        """
        current_call.set(self)

    def leave(self, tokens: tuple[Token[Context] | None, Token[InferenceCall | None] | None]) -> None:
        """Restore what was current before `enter`."""
        context, call = tokens
        try:
            if call is not None:
                current_call.reset(call)
        except ValueError:
            current_call.set(None)
        if context is not None:
            detach(context)

    def attempt(self, status: int | None, start_ns: int, end_ns: int) -> None:
        """Note one HTTP attempt; status None where none was answered, times in nanoseconds since 1970."""
        self._attempts.append((status or 0, start_ns, end_ns))

    def adopt(self, request: Request) -> None:
        """Take over what the client beneath knows better about the request; the framework's word stands otherwise."""
        mine = self._request
        for name in ("system", "messages", "tools", "address", "parameters"):
            if getattr(request, name) is not None:
                setattr(mine, name, getattr(request, name))
        now = self._recording
        if now is not None and self.span.is_recording():
            known = recording.span_attributes(self.span)
            said = request_attributes(request)
            self.span.set_attributes({key: value for key, value in said.items() if key not in known})

    def chunk(self) -> None:
        """Note that a chunk with content arrived now."""
        self._chunk_ns.append(time.perf_counter_ns())

    def finish(self, answer: LateAnswer) -> None:
        """End the call with what came back."""
        self._end(answer, None, False)

    def fail(self, error: BaseException, answer: LateAnswer = None) -> None:
        """End the call with an error, and with what had come back before it."""
        self._end(answer, error, False)

    def abort(self, answer: LateAnswer = None) -> None:
        """End a call whose stream the caller closed before its end."""
        self._end(answer, None, True)

    def _end(self, answer: LateAnswer, error: BaseException | None, aborted: bool) -> None:
        if self.ended:
            return
        self.ended = True
        try:
            if self._reservation is not None:
                answer = self._joined(answer)
                self._reservation.settle(answer.meters, answer.model)
                self.inner = None
            now, span = self._recording, self.span
            if now is None or not span.is_recording():
                span.end()
                return
            if error is not None:
                mark_error(span, error)
            # a list that grows after the call must not change what is kept of it
            messages = self._request.messages
            if isinstance(messages, (list, tuple)):
                self._request.messages = list(messages)
            now.end(span, partial(self._complete, now.privacy, answer, aborted))
        except Exception as failure:
            report("call end", failure)

    def _complete(self, privacy: Privacy, answer: LateAnswer, aborted: bool, attributes: dict[str, Any]) -> None:
        """Say all that there is to say, on the export thread where the span is ours."""
        if aborted:
            attributes[names.ABORTED] = True
        read = self._joined(answer)
        describe_answer(attributes, read)
        if self._attempts:
            describe_attempts(attributes, self._attempts)
        if self._chunk_ns:
            describe_chunks(attributes, self._start_ns, self._chunk_ns)
        request, span = self._request, self.span
        if request.model is None and read.model is not None:
            label = f"{request.operation} {read.model}"
            if isinstance(span, LeanSpan):
                span.name = label  # it has ended, and is not exported yet
            else:
                span.update_name(label)
        if privacy.keeps_metadata:
            describe_parameters(attributes, request)
            from inferometer.tracer.composition import complete_call

            complete_call(attributes, span.get_span_context(), request, read, privacy)
        # an announced call may stay in its context for long; what was said does not
        request.messages = request.system = request.tools = request.parameters = self.inner = None

    def _joined(self, answer: LateAnswer) -> Answer:
        """Return the client's answer with what the framework above it says beside, such as a cost."""
        outer = read_answer(answer)
        if self.inner is None:
            return outer
        inner = read_answer(self.inner)
        if outer.attributes:
            inner.attributes = {**outer.attributes, **(inner.attributes or {})}
        return inner


class InnerCall(InferenceCall):
    """The view that a client's hook has of a call which a framework's hook above it has begun: there is one span.

    What the client knows (attempts, chunks, the provider's own usage) goes to that call, which ends when its framework
    says so.
    """

    __slots__ = ("_outer",)

    def __init__(self, outer: InferenceCall, request: Request) -> None:
        super().__init__(None, request, outer.span, None)
        self._outer = outer
        outer.adopt(request)

    def attempt(self, status: int | None, start_ns: int, end_ns: int) -> None:
        """Note one HTTP attempt on the call above."""
        self._outer.attempt(status, start_ns, end_ns)

    def chunk(self) -> None:
        """Note a chunk on the call above."""
        self._outer.chunk()

    def _end(self, answer: LateAnswer, error: BaseException | None, aborted: bool) -> None:
        if self.ended:
            return
        self.ended = True
        # after an error the framework may try again, and that is the same call still
        if error is None and answer is not None:
            self._outer.inner = answer


def begin(request: Request) -> InferenceCall | None:
    """Start a call.

    Returns:
        The call; None where nothing records, no budget is set, or another instrumentation has this call already.

    Raises:
        BudgetExceeded: where a budget around it leaves no room; nothing else.
    """
    now = recording.active
    context = otel_context.get_current()
    frame = context.get(FRAME_KEY, ROOT)
    assert isinstance(frame, Frame)
    if now is None and frame.budget is None:
        return None
    outer = current_call.get()
    if outer is not None and not outer.ended:
        if outer.is_open:
            return InnerCall(outer, request)
    elif is_suppressed(context):
        return None
    reservation = None
    if frame.budget is not None:
        reservation = frame.budget.check(request.provider, request.model, text_length(request))
    try:
        if frame.counts is not None:
            frame.counts.count_inference()
        span: Span = INVALID_SPAN
        if now is not None:
            attributes = request_attributes(request)
            if frame.attributes:
                attributes.update(frame.attributes)
            label = f"{request.operation} {request.model}" if request.model else request.operation
            span = now.start(label, SpanKind.CLIENT, attributes, context)
        return InferenceCall(now, request, span, reservation)
    except Exception as error:
        report("call start", error)
        return None


__all__ = ["Answer", "InferenceCall", "InnerCall", "Request", "begin", "current_call"]
