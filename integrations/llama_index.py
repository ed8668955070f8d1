"""LlamaIndex: agents, workflows, tools, retrievers and model calls, through OpenInference."""

from __future__ import annotations

from inferometer.integrations.openinference import OpenInferenceIntegration


class LlamaIndexIntegration(OpenInferenceIntegration):
    """Traces LlamaIndex where ``openinference-instrumentation-llama-index`` is installed."""

    name = "llama-index"
    module = "llama_index.core"
    distribution = "openinference-instrumentation-llama-index"
    instrumentor = ("openinference.instrumentation.llama_index", "LlamaIndexInstrumentor")


def integration() -> LlamaIndexIntegration:
    """Return the hook."""
    return LlamaIndexIntegration()
