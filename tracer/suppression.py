"""Keys by which instrumentations tell each other that a call is taken, so that none is traced twice.

Read where another has set one; set while our own call is in flight. The names are those of the OpenTelemetry API,
opentelemetry-util-genai and OpenLLMetry, 2026-11.
"""

from __future__ import annotations

from opentelemetry import context as otel_context
from opentelemetry.context import Context

LANGUAGE_MODEL_KEY = "suppress_language_model_instrumentation"
_API_KEY = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", None)
GENAI_KEYS = ("opentelemetry.genai.client.inference.context", "opentelemetry.genai.client.embedding.context")
"""Where opentelemetry-util-genai keeps the call that one of its instrumentations has in flight."""

_SUPPRESSED = frozenset(
    key for key in (_API_KEY, "suppress_instrumentation", LANGUAGE_MODEL_KEY, *GENAI_KEYS) if isinstance(key, str)
)

SUPPRESSING = {LANGUAGE_MODEL_KEY: True}
"""What a context holds while our own call is in flight: instrumentations of the client beneath stay silent."""


def is_suppressed(context: Context) -> bool:
    """Whether another instrumentation, or one of our own hooks, has the call in flight."""
    return not _SUPPRESSED.isdisjoint(context) and any(context.get(key) for key in _SUPPRESSED)
