"""Serving engines' own spans, vLLM's and SGLang's: SERVER spans with queue, prefill and decode times in seconds."""

from __future__ import annotations

from inferometer.ingest.dialects import gen_ai
from inferometer.ingest.dialects.dialect import Dialect, Fields, extend
from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind


def kind_of(raw: RawSpan, fields: Fields) -> SpanKind | Operation | None:
    """Return an inference for a request as a whole; its inner stages stay plain spans."""
    if raw.name in {"llm_request", "Req", "request"} or "input" in fields or "output" in fields:
        return Operation.CHAT
    return None


def refine(raw: RawSpan, fields: Fields) -> None:
    """Tell several answers to one request by their number."""
    answers = raw.attributes.get("gen_ai.usage.num_sequences")
    if isinstance(answers, int) and answers > 1:
        fields.setdefault("tags", {})["num_sequences"] = str(answers)


DIALECT = Dialect(
    name="engine",
    reads="vLLM's and SGLang's request spans (vLLM `tracing/utils.py`, 2026-11): prompt and completion tokens, time in "
    "queue, to the first token, in prefill and decode; they enrich the client's span",
    aliases=extend(
        gen_ai.ALIASES,
        {
            "ttft_s": ("gen_ai.latency.time_to_first_token",),
            "queue_s": ("gen_ai.latency.time_in_queue",),
            "prefill_s": ("gen_ai.latency.time_in_model_prefill",),
            "decode_s": ("gen_ai.latency.time_in_model_decode",),
            "request_id": ("gen_ai.request.id",),
            "cache_read": ("gen_ai.usage.cached_tokens",),
        },
        response_model=("gen_ai.model.name",),
    ),
    kind=kind_of,
    scopes=("vllm*", "sglang*"),
    markers=("gen_ai.latency.time_in_queue", "gen_ai.latency.e2e"),
    content=gen_ai.CONTENT,
    refine=refine,
)
