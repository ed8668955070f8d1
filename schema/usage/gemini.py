"""Gemini and Vertex AI: input holds cached tokens; output leaves thoughts out; tools' results are input beside it.

Source: ai.google.dev/api/generate-content, `UsageMetadata`; recorded bodies of 2024 to 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.meters import Meters
from inferometer.schema.records import Operation, UsageSemantics
from inferometer.schema.usage.body import BodyUsage, Fee, count_of, mapping_of, text_of

SEMANTICS = UsageSemantics.INCLUSIVE


def read_usage(usage: Mapping[str, Any]) -> BodyUsage:
    """Return the meters of a ``usageMetadata`` object, in camel or snake case."""

    def count(camel: str, snake: str) -> int | None:
        return count_of(usage.get(camel, usage.get(snake)))

    prompt = count("promptTokenCount", "prompt_token_count")
    tools = count("toolUsePromptTokenCount", "tool_use_prompt_token_count")
    cached = count("cachedContentTokenCount", "cached_content_token_count")
    answer = count("candidatesTokenCount", "candidates_token_count")
    if answer is None:
        answer = count("responseTokenCount", "response_token_count")
    thoughts = count("thoughtsTokenCount", "thoughts_token_count")
    total = count("totalTokenCount", "total_token_count")
    all_input = None if prompt is None else prompt + (tools or 0)
    output = None if answer is None and thoughts is None else (answer or 0) + (thoughts or 0)
    body = BodyUsage(semantics=SEMANTICS, raw=dict(usage))
    if output is None and all_input is not None and total is not None and total >= all_input:
        output = total - all_input
    prompt_parts = _modalities(usage.get("promptTokensDetails", usage.get("prompt_tokens_details")))
    cache_parts = _modalities(usage.get("cacheTokensDetails", usage.get("cache_tokens_details")))
    answer_parts = _modalities(usage.get("candidatesTokensDetails", usage.get("candidates_tokens_details")))
    if all_input is not None and cached is not None and cached > all_input:
        body.reasons.append("more cached tokens than input: they stand beside the input count")
        body.semantics = UsageSemantics.EXCLUSIVE
        all_input += cached
    body.meters = Meters(
        input_fresh=None if all_input is None else all_input - (cached or 0),
        cache_read=cached,
        output=output,
        reasoning=thoughts,
        input_text=prompt_parts.get("TEXT"),
        input_audio=prompt_parts.get("AUDIO"),
        input_image=prompt_parts.get("IMAGE"),
        cache_read_audio=cache_parts.get("AUDIO"),
        output_text=answer_parts.get("TEXT"),
        output_audio=answer_parts.get("AUDIO"),
        output_image=answer_parts.get("IMAGE"),
    )
    return body


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what an answer says; embeddings that tell no tokens stay without."""
    usage = mapping_of(answer.get("usageMetadata") or answer.get("usage_metadata"))
    body = read_usage(usage) if usage else BodyUsage(semantics=SEMANTICS)
    body.model = text_of(answer.get("modelVersion"))
    body.response_id = text_of(answer.get("responseId"))
    body.service_tier = text_of(mapping_of(answer.get("usageMetadata")).get("trafficType"))
    _read_candidates(answer, body)
    if "embedding" in answer or "embeddings" in answer or "predictions" in answer:
        body.operation = Operation.EMBEDDING
        _read_embeddings(answer, body)
    return body


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what a stream says: the last usage, which sums up, and the texts of all parts."""
    usage: dict[str, Any] = {}
    head = BodyUsage(semantics=SEMANTICS, is_complete=False)
    for event in events:
        # a count that a later part leaves out was told by an earlier one
        usage |= mapping_of(event.get("usageMetadata"))
        head.model = text_of(event.get("modelVersion")) or head.model
        head.response_id = text_of(event.get("responseId")) or head.response_id
        _read_candidates(event, head)
    body = read_usage(usage) if usage else BodyUsage(semantics=SEMANTICS)
    body.model, body.response_id, body.finish_reason = head.model, head.response_id, head.finish_reason
    body.texts = ["".join(head.texts)] if head.texts else []
    body.fees, body.is_complete = head.fees, head.finish_reason is not None
    return body


def fees_of(candidate: Mapping[str, Any]) -> list[Fee]:
    """Return the searches that one candidate was grounded with."""
    searches = mapping_of(candidate.get("groundingMetadata")).get("webSearchQueries")
    return [Fee("google_search", len(searches), "request")] if isinstance(searches, list) and searches else []


def _read_candidates(answer: Mapping[str, Any], body: BodyUsage) -> None:
    candidates = answer.get("candidates")
    for candidate in candidates if isinstance(candidates, list) else ():
        candidate = mapping_of(candidate)
        body.finish_reason = text_of(candidate.get("finishReason")) or body.finish_reason
        body.fees = body.fees or fees_of(candidate)
        parts = mapping_of(candidate.get("content")).get("parts")
        for part in parts if isinstance(parts, list) else ():
            part = mapping_of(part)
            if isinstance(part.get("text"), str) and part["text"]:
                body.texts.append(part["text"])
            if "functionCall" in part:
                body.texts.append(json.dumps(part["functionCall"], ensure_ascii=False))


def _read_embeddings(answer: Mapping[str, Any], body: BodyUsage) -> None:
    predictions = answer.get("predictions")
    counts = [
        count_of(mapping_of(mapping_of(mapping_of(each).get("embeddings")).get("statistics")).get("token_count"))
        for each in (predictions if isinstance(predictions, list) else ())
    ]
    known = [count for count in counts if count is not None]
    if known:
        body.meters = Meters(input_fresh=sum(known), output=0)


def _modalities(details: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in details if isinstance(details, list) else ():
        part = mapping_of(part)
        count = count_of(part.get("tokenCount", part.get("token_count")))
        if count is not None:
            modality = str(part.get("modality", "")).upper()
            found[modality] = found.get(modality, 0) + count
    return found
