"""The sampler that the environment asks for."""

from __future__ import annotations

import os

from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    ParentBasedTraceIdRatio,
    Sampler,
    TraceIdRatioBased,
)

from inferometer.schema.errors import UnknownNameError, UserError

SAMPLERS = (
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
)


def sampler_from_environment() -> Sampler:
    """Return the sampler of ``OTEL_TRACES_SAMPLER`` and ``OTEL_TRACES_SAMPLER_ARG``.

    ``parentbased_always_on``, the default, is `ALWAYS_ON` here: a recording already obeys a parent that is not sampled.

    Raises:
        UserError: for a sampler or ratio that is not known.
    """
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower() or "parentbased_always_on"
    if name not in SAMPLERS:
        raise UnknownNameError("sampler in OTEL_TRACES_SAMPLER", name, SAMPLERS)
    if name == "always_off":
        return ALWAYS_OFF
    if name == "parentbased_always_off":
        return DEFAULT_OFF
    if name in ("always_on", "parentbased_always_on"):
        return ALWAYS_ON
    ratio = _ratio()
    return TraceIdRatioBased(ratio) if name == "traceidratio" else ParentBasedTraceIdRatio(ratio)


def _ratio() -> float:
    text = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "").strip() or "1.0"
    try:
        ratio = float(text)
    except ValueError:
        ratio = -1.0
    if not 0 <= ratio <= 1:
        raise UserError(f"OTEL_TRACES_SAMPLER_ARG={text!r} is not a ratio from 0 to 1")
    return ratio
