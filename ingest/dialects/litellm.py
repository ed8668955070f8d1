"""LiteLLM's proxy and SDK: ``gen_ai.*`` with costs under ``litellm.cost.*`` or, older, ``gen_ai.cost.*``."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return the operation; the proxy's span around the call and its raw request are no calls of their own."""
    if raw.name in {"Received Proxy Server Request", "raw_gen_ai_request"}:
        return SpanKind.OTHER
    return gen_ai.kind_of(raw, fields)


DIALECT = Dialect(
    name="litellm",
    reads="LiteLLM up to 1.109 (`opentelemetry` and `LITELLM_OTEL_V2`): calls, cost, team and end user",
    aliases=extend(
        gen_ai.ALIASES,
        {
            "cost_usd": ("litellm.cost.total", "gen_ai.cost.total_cost", "metadata.response_cost"),
            "request_model": ("gen_ai.request.model", "litellm.provider.model"),
            "response_id": ("gen_ai.response.id",),
        },
        provider=("litellm.provider.name", "llm.provider", "litellm.custom_llm_provider"),
        user_id=("litellm.end_user.id", "metadata.user_api_key_end_user_id", "metadata.user_api_key_user_id"),
        request_id=("litellm.call_id",),
        operation=("llm.request.type",),
    ),
    kind=kind_of,
    scopes=("litellm*",),
    markers=("litellm.*",),
    content=(*gen_ai.CONTENT, "llm.*.messages", "metadata.requester_*", "metadata.user_api_key_*", "llm.openai.*"),
)
