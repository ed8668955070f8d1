"""OpenLIT: ``gen_ai.*`` with cost, token details and the time to first token in seconds."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind

_TYPES: dict[str, SpanKind | Operation] = {"vectordb": SpanKind.RETRIEVAL, "framework": SpanKind.WORKFLOW}


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return the operation; vector databases and frameworks are told by name."""
    operation = fields.get("operation")
    known = _TYPES.get(operation) if isinstance(operation, str) else None
    return known or gen_ai.kind_of(raw, fields)


DIALECT = Dialect(
    name="openlit",
    reads="OpenLIT (2026-11): calls, `gen_ai.usage.cost`, prompt and completion token details, first token",
    aliases=extend(
        gen_ai.ALIASES,
        {
            "cost_usd": ("gen_ai.usage.cost",),
            "ttft_s": ("gen_ai.server.time_to_first_token", "gen_ai.server.ttft"),
            "input_audio": ("gen_ai.usage.prompt_tokens_details.audio_tokens",),
        },
        total=("gen_ai.client.token.usage", "gen_ai.usage.total_tokens"),
        cache_read=("gen_ai.usage.prompt_tokens_details.cache_read", "gen_ai.usage.prompt_tokens_details.cached"),
        user_id=("gen_ai.request.user",),
    ),
    kind=kind_of,
    scopes=("openlit*",),
    markers=("gen_ai.sdk.version",),
    content=(*gen_ai.CONTENT, "gen_ai.request.embedding*", "db.query.text", "db.statement"),
)
