"""Where spans come from: our own lean ones, or the provider that the program has set.

`Recording` is what ``configure`` puts in force; everything that traces asks `active` for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision, Sampler
from opentelemetry.trace import INVALID_SPAN, Link, Span, SpanKind, TracerProvider, set_span_in_context

from inferometer.schema.attributes import SAMPLING_WEIGHT, SCHEMA_URL, SCOPE
from inferometer.tracer import span as spans
from inferometer.tracer.guard import report
from inferometer.tracer.metrics import Observe
from inferometer.tracer.pipeline import Pipeline
from inferometer.tracer.privacy import Privacy
from inferometer.tracer.span import DEFAULT_LIMITS, EMPTY_STATE, LeanSpan, Limits, Work

(SPAN_KEY,) = set_span_in_context(INVALID_SPAN, Context())
"""The key under which OpenTelemetry keeps the current span in a context."""

Price = Callable[[str | None, str | None, Any], Any]
"""(provider, model, meters) -> cost in US dollars as Decimal, or None where there is no price."""


def global_provider() -> TracerProvider | None:
    """Return the program's own tracer provider, None where none was set; never sets one."""
    provider = getattr(trace, "_TRACER_PROVIDER", None)
    return provider if provider is not None and isinstance(provider, TracerProvider) else None


class Recording:
    """How this process records: destination, sampling, privacy, prices.

    Args:
        pipeline: takes ended lean spans; None where only the program's own provider is to see spans.
        privacy: what of a call's content is kept.
        sampler: decides on spans that have no local parent; None is always on.
        limits: of one span.
        price: what a call costs, for budgets and metrics.
        version: of Inferometer, for the scope.
        observe: told of each span that goes through the program's provider, for metrics.
        baggage_tags: names of tags that travel as W3C baggage.
        propagate_to: host patterns that get trace context and those tags in HTTP headers.
        own_provider: a provider of ours for frameworks that trace themselves; our own spans need not go through it.
        on_provider: called with the program's own provider when it is found.
    """

    def __init__(
        self,
        pipeline: Pipeline | None,
        *,
        privacy: Privacy,
        sampler: Sampler | None = None,
        limits: Limits = DEFAULT_LIMITS,
        price: Price | None = None,
        version: str = "",
        observe: Observe | None = None,
        baggage_tags: frozenset[str] = frozenset(),
        propagate_to: tuple[str, ...] = (),
        own_provider: TracerProvider | None = None,
        on_provider: Callable[[TracerProvider], None] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.privacy = privacy
        self.limits = limits
        self.price = price
        self.version = version
        self._observe = observe
        self.baggage_tags = baggage_tags
        self.propagate_to = propagate_to
        self._sampler = None if sampler is ALWAYS_ON else sampler
        self._sink: Callable[[LeanSpan], None] = pipeline.put if pipeline is not None else _discard
        self._own_provider = own_provider
        self._on_provider = on_provider
        self._tracer: trace.Tracer | None = None
        self._adopt(global_provider())

    def _adopt(self, provider: TracerProvider | None) -> None:
        if provider is None or provider is self._own_provider:
            return
        self._tracer = provider.get_tracer(SCOPE, self.version, SCHEMA_URL)
        if self._on_provider is not None:
            self._on_provider(provider)

    def start(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, Any],
        context: Context | None = None,
        links: Sequence[Link] = (),
    ) -> Span:
        """Start a span under the one of `context` (default: the current one); it owns `attributes` from then on."""
        if context is None:
            context = get_current()
        parent: Any = context.get(SPAN_KEY)
        if self._tracer is None:
            if type(parent) is LeanSpan:
                span = LeanSpan(
                    name,
                    kind,
                    parent.trace_id,
                    parent,
                    attributes,
                    self._sink,
                    self.limits,
                    parent.trace_state,
                    parent.sampled,
                )
                if links:
                    span.links = list(links)
                return span
            # asked at roots alone: a provider that was set after configure() is found without a cost per span
            self._adopt(global_provider())
        if self._tracer is not None:
            return self._tracer.start_span(name, context, kind, attributes, links)
        return self._start_root(name, kind, attributes, context, parent, links)

    def _start_root(
        self,
        name: str,
        kind: SpanKind,
        attributes: dict[str, Any],
        context: Context,
        parent: Span | None,
        links: Sequence[Link],
    ) -> Span:
        above = parent.get_span_context() if isinstance(parent, Span) else None
        if above is not None and not above.is_valid:
            above = None
        trace_id = (spans.random_bits(128) or 1) if above is None else above.trace_id
        state = EMPTY_STATE if above is None else above.trace_state
        sampled = True if above is None else above.trace_flags.sampled
        if self._sampler is not None:
            result = self._sampler.should_sample(context, trace_id, name, kind, attributes, links)
            sampled = result.decision is Decision.RECORD_AND_SAMPLE
            state = result.trace_state or state
            attributes.update(result.attributes or ())
            if sampled and above is None:
                rate = getattr(getattr(self._sampler, "_root", self._sampler), "rate", None)
                if isinstance(rate, float) and 0 < rate < 1:
                    attributes[SAMPLING_WEIGHT] = 1 / rate
        span = LeanSpan(name, kind, trace_id, above, attributes, self._sink, self.limits, state, sampled)
        if links:
            span.links = list(links)
        return span

    def end(self, span: Span, work: Work | None = None, end_ns: int | None = None) -> None:
        """End a span; `work` adds what is costly to compute, on the export thread where the span is ours."""
        if work is not None:
            if type(span) is LeanSpan:
                span.work = work
            elif span.is_recording():
                late: dict[str, Any] = {}
                try:
                    work(late)
                except Exception as error:
                    report("span completion", error)
                span.set_attributes({key: value for key, value in late.items() if value is not None})
        observed = None if type(span) is LeanSpan or self._observe is None else dict(span_attributes(span))
        span.end(end_ns)
        if observed and self._observe is not None:
            self._observe_ended(span, observed)

    def _observe_ended(self, span: Span, attributes: Mapping[str, Any]) -> None:
        start_ns, end_ns = getattr(span, "start_time", None), getattr(span, "end_time", None)
        if self._observe is not None and start_ns and end_ns:
            try:
                self._observe(attributes, span.get_span_context(), end_ns - start_ns)
            except Exception as error:
                report("metrics", error)


def _discard(span: LeanSpan) -> None:
    """Take an ended span that nobody wants."""


active: Recording | None = None
"""What is in force; None until ``configure``, and while tracing is disabled."""


def activate(recording: Recording | None) -> Recording | None:
    """Put a recording in force and return the one before it."""
    global active
    before, active = active, recording
    return before


def span_attributes(span: Span) -> Mapping[str, Any]:
    """Return a span's attributes as they are now, empty where it does not tell."""
    attributes = getattr(span, "attributes", None)
    return attributes if isinstance(attributes, Mapping) else {}
