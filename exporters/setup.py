"""`configure`, `flush`, `shutdown`: puts a recording in force and takes it down again."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import cache
from types import FrameType
from typing import Any, ClassVar

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import TracerProvider as ApiTracerProvider

from inferometer.exporters.destination import FanOutExporter, MakeExporter, discover, from_environment
from inferometer.exporters.sampling import sampler_from_environment
from inferometer.schema.attributes import SCHEMA_URL, SCOPE
from inferometer.schema.errors import UserError
from inferometer.schema.meters import Meters
from inferometer.schema.records import Inference, Status
from inferometer.schema.rows import InferenceRow, Placement
from inferometer.tracer import span as spans
from inferometer.tracer.composition import memory as prefix_memory
from inferometer.tracer.guard import logger, report
from inferometer.tracer.metrics import Metrics
from inferometer.tracer.pipeline import (
    BATCH_SPANS,
    EXIT_TIMEOUT_S,
    INTERVAL_S,
    QUEUE_SPANS,
    Pipeline,
    PipelineProcessor,
)
from inferometer.tracer.privacy import CONTENT_BYTES, Privacy, Redact
from inferometer.tracer.recording import Price, Recording, activate, global_provider
from inferometer.tracer.span import Limits

_lock = threading.RLock()


def configure(
    *,
    service: str | None = None,
    exporter: SpanExporter | None = None,
    store: str | None = None,
    endpoint: str | None = None,
    capture: str | None = None,
    redact: Redact | None = None,
    content_bytes: int = CONTENT_BYTES,
    plain_users: bool = False,
    sampler: Sampler | None = None,
    resource: Mapping[str, str] | None = None,
    prices: Price | None = None,
    tags: Iterable[str] = (),
    propagate_to: Iterable[str] = (),
    queue_spans: int = QUEUE_SPANS,
    batch_spans: int = BATCH_SPANS,
    interval_s: float = INTERVAL_S,
    flush_on_sigterm: bool = False,
    set_global_provider: bool = False,
) -> None:
    """Begin to record; called again, it replaces what was in force after flushing it.

    Where the program has a global ``TracerProvider``, our spans go through its sampler, processors and resource, and a
    destination given here gets all of its spans; the provider is never replaced. Code beats the environment.

    Args:
        service: ``service.name``; default ``OTEL_SERVICE_NAME``.
        exporter: any OpenTelemetry span exporter. Without one, `store` or `endpoint`; without these,
            ``OTEL_EXPORTER_OTLP_*`` and ``INFEROMETER_STORE``; else a sidecar on 127.0.0.1:4318 that names itself, else
            the user's store; the last two are asked on the export thread.
        store: URL or path of a store to write to directly.
        endpoint: base URL of an OTLP/HTTP receiver.
        capture: ``none``, ``metadata`` or ``content``; default ``metadata``, or what
            ``OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT`` asks for.
        redact: called with name and text of each content attribute; what it returns is kept.
        content_bytes: most bytes of one content attribute.
        plain_users: keep user ids as they are instead of hashed.
        sampler: default what ``OTEL_TRACES_SAMPLER`` asks for.
        resource: further resource attributes.
        prices: (provider, model, meters) -> US dollars as Decimal or None; default the installed price list.
        tags: names of tags that may travel to other hosts as W3C baggage.
        propagate_to: host patterns (``*.internal``) that get trace context and those tags in HTTP headers.
        queue_spans: ended spans that wait at most; the oldest are dropped over it, and counted.
        batch_spans: spans exported at once.
        interval_s: longest wait of a span, in seconds.
        flush_on_sigterm: also export what is left on SIGTERM, before the handler that was there.
        set_global_provider: make an SDK provider of ours the global one where there is none, so that frameworks which
            trace themselves are recorded too.

    Raises:
        UserError: for an option that cannot be obeyed.
    """
    _check(exporter, store, endpoint)
    if queue_spans < 1 or batch_spans < 1 or interval_s <= 0:
        raise UserError("queue_spans, batch_spans and interval_s must be positive")
    privacy = Privacy(capture, redact, content_bytes, plain_users)
    with _lock:
        shutdown()
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            logger.info("inferometer: OTEL_SDK_DISABLED is set, nothing is recorded")
            return
        price = prices or _installed_prices()
        observe = Metrics(price, _version()).observe
        pipeline = Pipeline(
            _destination(exporter, store, endpoint),
            _resource(service, resource),
            InstrumentationScope(SCOPE, _version(), SCHEMA_URL),
            queue_spans=queue_spans,
            batch_spans=batch_spans,
            interval_s=interval_s,
            observe=observe,
            on_loss=prefix_memory.clear,
        )
        prefix_memory.clear()
        _record(
            pipeline,
            sampler or sampler_from_environment(),
            set_global_provider,
            privacy=privacy,
            price=price,
            observe=observe,
            baggage_tags=frozenset(tags),
            propagate_to=tuple(propagate_to),
        )
        if flush_on_sigterm:
            _chain_sigterm()


def _check(exporter: SpanExporter | None, store: str | None, endpoint: str | None) -> None:
    if sum(option is not None for option in (exporter, store, endpoint)) > 1:
        raise UserError("configure takes one of exporter, store and endpoint")
    if exporter is not None and not callable(getattr(exporter, "export", None)):
        raise UserError(f"exporter must be an OpenTelemetry SpanExporter, not {type(exporter).__name__}")


def _record(pipeline: Pipeline, sampler: Sampler, set_global_provider: bool, **said: Any) -> None:
    """Put a recording in force; `said` goes to it as it is."""
    own_provider = _place_provider(pipeline, sampler) if set_global_provider else None
    activate(
        Recording(
            pipeline,
            sampler=sampler,
            limits=Limits.from_environment(),
            version=_version(),
            own_provider=own_provider,
            on_provider=lambda provider: _listen_to(provider, pipeline),
            **said,
        )
    )
    _state.pipeline = pipeline


class _State:
    pipeline: Pipeline | None = None
    placed: TracerProvider | None = None
    listeners: ClassVar[list[PipelineProcessor]] = []


_state = _State()


def flush(timeout_s: float = 30.0) -> bool:
    """Export all spans that have ended.

    Args:
        timeout_s: longest wait in seconds.

    Returns:
        Whether all of them reached the exporter in time; True where nothing is configured.
    """
    pipeline = _state.pipeline
    return True if pipeline is None else pipeline.flush(timeout_s)


def shutdown(timeout_s: float = 30.0) -> bool:
    """Flush and stop; decorated code runs on without being recorded.

    Args:
        timeout_s: longest wait in seconds.

    Returns:
        Whether all ended spans reached the exporter in time.
    """
    with _lock:
        activate(None)
        pipeline, _state.pipeline = _state.pipeline, None
        _stop_listening()
        return True if pipeline is None else pipeline.close(timeout_s)


def statistics() -> dict[str, int]:
    """Return counts of spans in this process: exported, dropped, failed, waiting; empty where nothing is configured."""
    pipeline = _state.pipeline
    return {} if pipeline is None else pipeline.statistics()


def _destination(exporter: SpanExporter | None, store: str | None, endpoint: str | None) -> MakeExporter:
    if exporter is not None:
        return lambda: exporter
    if store is not None:
        from inferometer.exporters.direct import StoreSpanExporter

        return lambda: StoreSpanExporter(store)
    if endpoint is not None:
        from inferometer.exporters.otlp import otlp_exporter

        return lambda: otlp_exporter(endpoint)
    named = from_environment()
    if not named:
        return discover
    if len(named) == 1:
        return named[0]
    return lambda: FanOutExporter([make() for make in named])


def _resource(service: str | None, further: Mapping[str, str] | None) -> Resource:
    attributes = dict(further or ())
    if service is not None:
        attributes[SERVICE_NAME] = service
    return Resource.create(attributes)


def _version() -> str:
    from inferometer import __version__

    return __version__


def _listen_to(provider: ApiTracerProvider, pipeline: Pipeline) -> None:
    """Let our destination have the spans of the program's provider, ours and those of others."""
    if not hasattr(provider, "add_span_processor"):
        return
    listener = PipelineProcessor(pipeline)
    provider.add_span_processor(listener)
    _state.listeners.append(listener)


def _stop_listening() -> None:
    while _state.listeners:
        _state.listeners.pop().stop()
    placed, _state.placed = _state.placed, None
    if placed is not None and global_provider() is placed:
        trace._TRACER_PROVIDER = None


def _place_provider(pipeline: Pipeline, sampler: Sampler) -> TracerProvider | None:
    """Put a provider of ours where there is none, for frameworks that trace themselves.

    It is put there beneath ``set_tracer_provider``, which works once a process: a program that sets its own later gets
    it, and ours goes.
    """
    if global_provider() is not None or not hasattr(trace, "_TRACER_PROVIDER"):
        return None
    provider = TracerProvider(sampler=sampler, resource=pipeline.resource, shutdown_on_exit=False)
    _listen_to(provider, pipeline)
    _state.placed = trace._TRACER_PROVIDER = provider
    return provider


@cache
def _installed_prices() -> Price | None:
    """Return a price callable over the installed price list, None where none is installed."""
    from importlib.util import find_spec

    if find_spec("genai_prices") is None:
        return None
    loaded: list[Any] = []

    def price(provider: str | None, model: str | None, meters: Meters) -> Decimal | None:
        if not loaded:
            from inferometer.profiles.prices import load_prices

            loaded.append(load_prices())
        call = Inference(b"\0" * 16, b"\0" * 8, provider=provider, request_model=model, meters=meters)
        now_ns = spans.now_ns()
        row = InferenceRow(call, Placement(None, None, now_ns, now_ns, Status.UNSET))
        priced = loaded[0].price(row)
        cost = priced.list_cost_usd
        return cost if isinstance(cost, Decimal) else None

    return price


def _chain_sigterm() -> None:
    if threading.current_thread() is not threading.main_thread():
        raise UserError("flush_on_sigterm needs configure() to be called on the main thread")
    before = signal.getsignal(signal.SIGTERM)
    if getattr(before, "_inferometer", False):
        return

    def handle(number: int, frame: FrameType | None) -> None:
        flush(EXIT_TIMEOUT_S)
        if callable(before):
            before(number, frame)
        elif before is not signal.SIG_IGN:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTERM)

    handle._inferometer = True  # type: ignore[attr-defined]
    signal.signal(signal.SIGTERM, handle)


def _at_exit() -> None:
    try:
        shutdown(EXIT_TIMEOUT_S)
    except Exception as error:
        report("exit", error)


atexit.register(_at_exit)
__all__ = ["configure", "flush", "shutdown", "statistics"]
