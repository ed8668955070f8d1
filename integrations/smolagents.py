"""smolagents: agents, steps, tools and model calls, through OpenInference."""

from __future__ import annotations

from inferometer.integrations.openinference import OpenInferenceIntegration


class SmolagentsIntegration(OpenInferenceIntegration):
    """Traces smolagents where ``openinference-instrumentation-smolagents`` is installed."""

    name = "smolagents"
    module = "smolagents"
    distribution = "openinference-instrumentation-smolagents"
    instrumentor = ("openinference.instrumentation.smolagents", "SmolagentsInstrumentor")


def integration() -> SmolagentsIntegration:
    """Return the hook."""
    return SmolagentsIntegration()
