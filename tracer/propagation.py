"""Trace context over process borders: W3C ``traceparent`` and ``tracestate``, and the tags that may travel."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from urllib.parse import quote, unquote

from opentelemetry import baggage
from opentelemetry import context as otel_context
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from inferometer.schema import attributes as names
from inferometer.tracer import recording
from inferometer.tracer.annotations import BAGGAGE_PREFIX
from inferometer.tracer.frames import FRAME_KEY, current_frame

_propagator = TraceContextTextMapPropagator()


def inject(carrier: MutableMapping[str, str], context: Context | None = None) -> None:
    """Add the current trace context to HTTP headers or MCP's ``params._meta``, and the tags of the allow-list."""
    context = otel_context.get_current() if context is None else context
    _propagator.inject(carrier, context)
    now = recording.active
    if now is None or not now.baggage_tags:
        return
    carried = baggage.get_all(context)
    keys = sorted({BAGGAGE_PREFIX + name for name in now.baggage_tags} & carried.keys())
    members = [f"{key}={quote(str(carried[key]))}" for key in keys]
    if members:
        carrier["baggage"] = ",".join(members)


def extract(carrier: Mapping[str, str], context: Context | None = None) -> Context:
    """Return a context under the trace that a carrier names, with the tags of the allow-list.

    A caller's other baggage is not taken over: it is not ours, and may come from anyone.
    """
    lowered = {key.lower(): value for key, value in carrier.items()}
    context = _propagator.extract(lowered, context)
    now = recording.active
    allowed = now.baggage_tags if now is not None else frozenset()
    tags: dict[str, str] = {}
    for member in lowered.get("baggage", "").split(","):
        key, _, value = member.partition(";")[0].strip().partition("=")
        name = key.strip().removeprefix(BAGGAGE_PREFIX)
        if key.strip().startswith(BAGGAGE_PREFIX) and name in allowed:
            tags[name] = unquote(value.strip())
    if not tags:
        return context
    for name, value in tags.items():
        context = baggage.set_baggage(BAGGAGE_PREFIX + name, value, context)
    frame = current_frame(context).with_attributes({names.TAG + name: value for name, value in tags.items()})
    return otel_context.set_value(FRAME_KEY, frame, context)
