"""How many spans one sampled span stands for: the inverse of its sampling probability, None where unknown.

Source: OpenTelemetry tracestate probability sampling (``ot=th:``, rejection threshold of 56 bits).
"""

from __future__ import annotations

from typing import Any

from inferometer.ingest.dialects.dialect import Fields
from inferometer.ingest.raw import RawSpan

SAMPLER_KEYS = frozenset({"SampleRate", "sampler.type", "sampling.probability", "sampling.ratio"})
"""Keys under which samplers write what they did."""

_THRESHOLD_DIGITS = 14
_MAX_WEIGHT = 2.0**56


def weight_of(raw: RawSpan, fields: Fields) -> float | None:
    """Return a span's weight from its tracestate, else from what a sampler wrote on it."""
    if raw.trace_state:
        weight = weight_of_trace_state(raw.trace_state)
        if weight is not None:
            return weight
    if "weight" in fields:
        return _valid(fields["weight"])
    attributes = raw.attributes
    if "SampleRate" in attributes:
        return _valid(attributes["SampleRate"])
    if attributes.get("sampler.type") == "probabilistic" and "sampler.param" in attributes:
        return _inverse(attributes["sampler.param"])
    for key in ("sampling.probability", "sampling.ratio"):
        if key in attributes:
            return _inverse(attributes[key])
    return None


def weight_of_trace_state(trace_state: str) -> float | None:
    """Return the weight that the ``th`` of an ``ot`` member states; None where there is none or it is broken."""
    for member in trace_state.split(","):
        vendor, _, value = member.strip().partition("=")
        if vendor != "ot":
            continue
        for part in value.split(";"):
            key, _, digits = part.partition(":")
            if key == "th":
                return _weight_of_threshold(digits)
    return None


def _weight_of_threshold(digits: str) -> float | None:
    if not 1 <= len(digits) <= _THRESHOLD_DIGITS:
        return None
    try:
        threshold = int(digits.ljust(_THRESHOLD_DIGITS, "0"), 16)
    except ValueError:
        return None
    whole = 1 << 56
    return whole / (whole - threshold)


def _inverse(probability: Any) -> float | None:
    try:
        return _valid(1 / float(probability))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None


def _valid(weight: Any) -> float | None:
    try:
        number = float(weight)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 1 <= number <= _MAX_WEIGHT else None
