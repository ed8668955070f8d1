"""One model call as a hook sees it: request, attempts, chunks, usage, end.

A hook asks `begin` for a call before it sends and tells it what happens; the call decides what a span may say about it.
Nothing here raises but `BudgetExceeded`, from `begin`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from itertools import pairwise
from typing import Any

from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind

from inferometer.schema import attributes as names
from inferometer.schema.meters import Meters
from inferometer.schema.records import UsageSource
from inferometer.tracer import recording
from inferometer.tracer.activity import detach, mark_error
from inferometer.tracer.budget import Reservation
from inferometer.tracer.frames import FRAME_KEY, ROOT, Frame
from inferometer.tracer.guard import report
from inferometer.tracer.recording import SPAN_KEY, Recording
from inferometer.tracer.suppression import enter_suppressed, is_suppressed

current_call: ContextVar[InferenceCall | None] = ContextVar("inferometer-call", default=None)
"""The call whose HTTP attempts are being sent in this context."""


class Request:
    """What a call asks for, in the words of the convention.

    Args:
        operation: ``chat``, ``text_completion``, ``generate_content`` or ``embeddings``.
        provider: such as ``openai``.
        model: asked for.
        parameters: attributes of the convention that carry no content, such as ``gen_ai.request.temperature``.
        system: system instructions, as the provider's API takes them.
        messages: the conversation, as the provider's API takes it.
        tools: tool definitions, as the provider's API takes them.
        stream: whether a stream was asked for.
        address: (host, port) of the server.
    """

    __slots__ = ("address", "messages", "model", "operation", "parameters", "provider", "stream", "system", "tools")

    def __init__(
        self,
        operation: str,
        provider: str | None,
        model: str | None,
        *,
        parameters: Mapping[str, Any] | None = None,
        system: Any = None,
        messages: Any = None,
        tools: Sequence[Any] | None = None,
        stream: bool = False,
        address: tuple[str, int | None] | None = None,
    ) -> None:
        self.operation = operation
        self.provider = provider
        self.model = model
        self.parameters = parameters
        self.system = system
        self.messages = messages
        self.tools = tools
        self.stream = stream
        self.address = address


class Answer:
    """What came back.

    Args:
        meters: tokens, from the provider's own usage; None where it told none.
        raw_usage: the provider's usage object.
        source: of the meters; default provider where there are any, else absent.
        response_id: the provider's.
        model: that answered.
        finish_reasons: of the choices.
        service_tier: that served.
        output: the message or messages that came back, for content capture.
        text: what a stream said, from which tokens are counted where the provider tells none.
        attributes: others of the convention.
    """

    __slots__ = (
        "attributes",
        "finish_reasons",
        "meters",
        "model",
        "output",
        "raw_usage",
        "response_id",
        "service_tier",
        "source",
        "text",
    )

    def __init__(
        self,
        meters: Meters | None = None,
        *,
        raw_usage: Mapping[str, Any] | None = None,
        source: UsageSource | None = None,
        response_id: str | None = None,
        model: str | None = None,
        finish_reasons: Sequence[str] = (),
        service_tier: str | None = None,
        output: Any = None,
        text: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self.meters = meters
        self.raw_usage = raw_usage
        self.source = source
        self.response_id = response_id
        self.model = model
        self.finish_reasons = finish_reasons
        self.service_tier = service_tier
        self.output = output
        self.text = text
        self.attributes = attributes


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
        self.inner: Answer | None = None

    @property
    def is_open(self) -> bool:
        """Whether a client's hook beneath may take this call for its own."""
        return not self.ended and self.inner is None

    def enter(self) -> tuple[Token[Context] | None, Token[InferenceCall | None] | None]:
        """Make the call's span current while its request is sent; give what it returns to `leave`."""
        try:
            values = dict(otel_context.get_current())
            if self._recording is not None:
                values[SPAN_KEY] = self.span
                enter_suppressed(values)
            return otel_context.attach(Context(values)), current_call.set(self)
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
        for name in ("system", "messages", "tools", "address"):
            if getattr(request, name) is not None:
                setattr(mine, name, getattr(request, name))
        now = self._recording
        if now is not None and self.span.is_recording():
            known = recording.span_attributes(self.span)
            said = request_attributes(request, now)
            self.span.set_attributes({key: value for key, value in said.items() if key not in known})

    def chunk(self) -> None:
        """Note that a chunk with content arrived now."""
        self._chunk_ns.append(time.perf_counter_ns())

    def finish(self, answer: Answer) -> None:
        """End the call with what came back."""
        self._end(answer, None, False)

    def fail(self, error: BaseException, answer: Answer | None = None) -> None:
        """End the call with an error, and with what had come back before it."""
        self._end(answer, error, False)

    def abort(self, answer: Answer | None = None) -> None:
        """End a call whose stream the caller closed before its end."""
        self._end(answer, None, True)

    def _end(self, answer: Answer | None, error: BaseException | None, aborted: bool) -> None:
        if self.ended:
            return
        self.ended = True
        answer = _joined(self.inner, answer)
        try:
            if self._reservation is not None:
                self._reservation.settle(answer.meters if answer else None, answer.model if answer else None)
            now, span = self._recording, self.span
            if now is None or not span.is_recording():
                span.end()
                return
            attributes: dict[str, Any] = {names.ABORTED: True} if aborted else {}
            self._describe(attributes, answer or Answer())
            span.set_attributes(attributes)
            if error is not None:
                mark_error(span, error)
            now.end(span, self._work(now, answer))
        except Exception as failure:
            report("call end", failure)

    def _describe(self, attributes: dict[str, Any], answer: Answer) -> None:
        for name, value in (
            (names.RESPONSE_ID, answer.response_id),
            (names.RESPONSE_MODEL, answer.model),
            (names.SERVICE_TIER, answer.service_tier),
        ):
            if value is not None:
                attributes[name] = value  # noqa: PERF403 - adds to what is there
        if self._request.model is None and answer.model is not None:
            self.span.update_name(f"{self._request.operation} {answer.model}")
        if answer.finish_reasons:
            attributes[names.RESPONSE_FINISH_REASONS] = tuple(answer.finish_reasons)
        if answer.attributes:
            attributes.update(answer.attributes)
        describe_usage(attributes, answer.meters, answer.source)
        if self._attempts:
            statuses, starts, ends = zip(*self._attempts, strict=True)
            attributes[names.ATTEMPT_STATUSES] = statuses
            attributes[names.ATTEMPT_STARTS_NS] = starts
            attributes[names.ATTEMPT_ENDS_NS] = ends
        if self._chunk_ns:
            describe_chunks(attributes, self._start_ns, self._chunk_ns)

    def _work(self, now: Recording, answer: Answer | None) -> Callable[[dict[str, Any]], None] | None:
        if not now.privacy.keeps_metadata:
            return None
        from inferometer.tracer.composition import call_work

        return call_work(self.span, self._request, answer, now.privacy)


def _joined(inner: Answer | None, outer: Answer | None) -> Answer | None:
    """Return the client's answer with what the framework above it says beside, such as a cost."""
    if inner is not None and outer is not None and outer.attributes:
        inner.attributes = {**outer.attributes, **(inner.attributes or {})}
    return inner or outer


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

    def _end(self, answer: Answer | None, error: BaseException | None, aborted: bool) -> None:
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
            attributes = request_attributes(request, now)
            if frame.attributes:
                attributes.update(frame.attributes)
            label = f"{request.operation} {request.model}" if request.model else request.operation
            span = now.start(label, SpanKind.CLIENT, attributes, context)
        return InferenceCall(now, request, span, reservation)
    except Exception as error:
        report("call start", error)
        return None


def request_attributes(request: Request, now: Recording) -> dict[str, Any]:
    """Return what a span says when its call starts."""
    attributes: dict[str, Any] = {names.OPERATION: request.operation}
    if request.provider is not None:
        attributes[names.PROVIDER] = request.provider
    if request.model is not None:
        attributes[names.REQUEST_MODEL] = request.model
    if request.stream:
        attributes[names.REQUEST_STREAM] = True
    if request.address is not None:
        attributes[names.SERVER_ADDRESS] = request.address[0]
        if request.address[1] is not None:
            attributes[names.SERVER_PORT] = request.address[1]
    if request.parameters and now.privacy.keeps_metadata:
        attributes.update(request.parameters)
    return attributes


def describe_usage(attributes: dict[str, Any], meters: Meters | None, source: UsageSource | None = None) -> None:
    """Add tokens in the convention's inclusive counts, with the splits that it has no name for."""
    if meters is None or not meters.is_known:
        attributes[names.USAGE_SOURCE] = str(source or UsageSource.ABSENT)
        return
    writes = [count for count in (meters.cache_write_5m, meters.cache_write_1h) if count is not None]
    for name, count in (
        (names.USAGE_INPUT, meters.input_total),
        (names.USAGE_OUTPUT, meters.output),
        (names.USAGE_CACHE_READ, meters.cache_read),
        (names.USAGE_CACHE_WRITE, sum(writes) if writes else None),
        (names.USAGE_CACHE_WRITE_5M, meters.cache_write_5m),
        (names.USAGE_CACHE_WRITE_1H, meters.cache_write_1h),
        (names.USAGE_REASONING, meters.reasoning),
        (names.USAGE_TEXT_INPUT, meters.input_text),
        (names.USAGE_AUDIO_INPUT, meters.input_audio),
        (names.USAGE_IMAGE_INPUT, meters.input_image),
        (names.USAGE_AUDIO_CACHE_READ, meters.cache_read_audio),
        (names.USAGE_TEXT_OUTPUT, meters.output_text),
        (names.USAGE_AUDIO_OUTPUT, meters.output_audio),
        (names.USAGE_IMAGE_OUTPUT, meters.output_image),
    ):
        if count is not None:
            attributes[name] = count  # noqa: PERF403 - adds to what is there
    attributes[names.USAGE_SOURCE] = str(source or UsageSource.PROVIDER)


def describe_chunks(attributes: dict[str, Any], start_ns: int, chunk_ns: Sequence[int]) -> None:
    """Add time to first chunk and between chunks; percentiles are the nearest rank."""
    attributes[names.CHUNKS] = len(chunk_ns)
    ttft_ns = chunk_ns[0] - start_ns
    attributes[names.TTFT_NS] = ttft_ns
    attributes[names.RESPONSE_TTFC_S] = ttft_ns / 1e9
    gaps = sorted(later - earlier for earlier, later in pairwise(chunk_ns))
    if gaps:
        attributes[names.INTER_TOKEN_P50_NS] = gaps[_rank(len(gaps), 50)]
        attributes[names.INTER_TOKEN_P95_NS] = gaps[_rank(len(gaps), 95)]


def _rank(count: int, percent: int) -> int:
    return max(0, -(-count * percent // 100) - 1)


def text_length(request: Request) -> int:
    """Return the characters of a request's text: what its input is estimated from until its usage is known."""
    return _length(request.system) + _length(request.messages) + _length(request.tools)


def _length(value: Any, depth: int = 0) -> int:
    if isinstance(value, str):
        return len(value)
    if depth > 8:
        return 0
    if isinstance(value, Mapping):
        return sum(_length(item, depth + 1) for item in value.values())
    if isinstance(value, (list, tuple)):
        return sum(_length(item, depth + 1) for item in value)
    content = getattr(value, "content", None)
    return _length(content, depth + 1) if content is not None else 0
