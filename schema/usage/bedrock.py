"""Amazon Bedrock: Converse, and each model family's own bodies behind InvokeModel. Input leaves cached tokens out.

Source: docs.aws.amazon.com/bedrock, `TokenUsage` and model inference parameters; recorded bodies of 2024 to 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.meters import Meters
from inferometer.schema.records import Operation, UsageSemantics
from inferometer.schema.usage import anthropic, cohere, openai
from inferometer.schema.usage.body import BodyUsage, Fee, count_of, mapping_of, text_of

SEMANTICS = UsageSemantics.EXCLUSIVE

_METRICS = "amazon-bedrock-invocationMetrics"
_GUARDRAIL_FEES = {
    # what a guardrail's trace counts and AWS bills: (sku, unit); words and the patterns named free are not billed
    "topicPolicyUnits": ("guardrail_topic_policy", "text_unit"),
    "contentPolicyUnits": ("guardrail_content_policy", "text_unit"),
    "contentPolicyImageUnits": ("guardrail_content_policy_image", "image"),
    "sensitiveInformationPolicyUnits": ("guardrail_sensitive_information_policy", "text_unit"),
    "contextualGroundingPolicyUnits": ("guardrail_contextual_grounding_policy", "text_unit"),
    "automatedReasoningPolicyUnits": ("guardrail_automated_reasoning_policy", "text_unit"),
}


def read_usage(usage: Mapping[str, Any]) -> BodyUsage:
    """Return the meters of a Converse ``usage`` object."""
    one_hour = None
    details = usage.get("cacheDetails")
    for part in details if isinstance(details, list) else ():
        part = mapping_of(part)
        if part.get("ttl") == "1h":
            one_hour = (one_hour or 0) + (count_of(part.get("inputTokens")) or 0)
    written = _count(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount")
    return BodyUsage(
        meters=Meters(
            input_fresh=_count(usage, "inputTokens", "inputTokenCount"),
            cache_read=_count(usage, "cacheReadInputTokens", "cacheReadInputTokenCount"),
            cache_write_5m=written if written is None else max(0, written - (one_hour or 0)),
            cache_write_1h=one_hour,
            output=_count(usage, "outputTokens", "outputTokenCount"),
        ),
        semantics=SEMANTICS,
        raw=dict(usage),
    )


def read_converse(told: Mapping[str, Any]) -> BodyUsage:
    """Return the tokens, tier and fees of a Converse answer, or of the ``metadata`` event that ends its stream."""
    body = read_usage(mapping_of(told.get("usage")))
    body.service_tier = text_of(mapping_of(told.get("serviceTier")).get("type"))
    guardrail = mapping_of(mapping_of(told.get("trace")).get("guardrail"))
    assessments = list(mapping_of(guardrail.get("inputAssessment")).values())
    for each in mapping_of(guardrail.get("outputAssessments")).values():
        assessments += each if isinstance(each, list) else []
    units: dict[str, int] = {}
    for each in assessments:
        used = mapping_of(mapping_of(mapping_of(each).get("invocationMetrics")).get("usage"))
        for name in _GUARDRAIL_FEES:
            units[name] = units.get(name, 0) + (count_of(used.get(name)) or 0)
    body.fees = [Fee(sku, units[name], unit) for name, (sku, unit) in _GUARDRAIL_FEES.items() if units.get(name)]
    return body


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what a Converse or InvokeModel answer says, whichever family of models gave it."""
    usage = mapping_of(answer.get("usage"))
    if "input_tokens" in usage:
        return anthropic.read_body(answer)
    if "prompt_tokens" in usage or "choices" in answer:
        return openai.read_body(answer)
    if "meta" in answer or "billed_units" in usage:
        return cohere.read_body(answer)
    body = read_converse(answer) if usage else _read_family(answer)
    body.finish_reason = text_of(answer.get("stopReason")) or text_of(answer.get("stop_reason")) or body.finish_reason
    message = mapping_of(mapping_of(answer.get("output")).get("message"))
    content = message.get("content")
    for part in content if isinstance(content, list) else ():
        _read_part(mapping_of(part), body)
    return body


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what a stream says: Converse metadata, or the model's own events and the metrics in the last of them."""
    kept = list(events)
    metrics = next((mapping_of(event[_METRICS]) for event in reversed(kept) if _METRICS in event), None)
    if any(event.get("type") == "message_start" for event in kept):
        body = anthropic.read_stream(kept)
        if not body.meters.is_known and metrics:
            body.meters = read_usage(metrics).meters
        return body
    body = BodyUsage(semantics=SEMANTICS, is_complete=False)
    for event in kept:
        last = event if "usage" in event else mapping_of(event.get("metadata"))
        if mapping_of(last.get("usage")):
            found = read_converse(last)
            body.meters, body.raw, body.service_tier, body.fees = (
                found.meters,
                found.raw,
                found.service_tier,
                found.fees,
            )
        stop = mapping_of(event.get("messageStop")) or event
        reason = text_of(stop.get("stopReason")) or text_of(event.get("completionReason"))
        if reason:
            body.finish_reason, body.is_complete = reason, True
        delta = mapping_of(mapping_of(event.get("contentBlockDelta")).get("delta")) or mapping_of(event.get("delta"))
        for text in (delta.get("text"), event.get("outputText"), event.get("generation")):
            if isinstance(text, str) and text:
                body.texts.append(text)
    if metrics and not body.meters.is_known:
        found = read_usage(metrics)
        body.meters, body.raw = found.meters, found.raw
    body.texts = ["".join(body.texts)] if body.texts else []
    return body


def _read_family(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what the bodies of Titan, Llama, Jurassic and of embedding models say."""
    body = BodyUsage(semantics=SEMANTICS)
    given = answer.get("results")
    results = given if isinstance(given, list) else []
    if "inputTextTokenCount" in answer:
        outputs = [count_of(mapping_of(each).get("tokenCount")) for each in results]
        body.meters = Meters(
            input_fresh=count_of(answer["inputTextTokenCount"]),
            output=sum(count or 0 for count in outputs) if outputs else 0,
        )
        if "embedding" in answer or "embeddingsByType" in answer:
            body.operation = Operation.EMBEDDING
        for each in results:
            body.finish_reason = text_of(mapping_of(each).get("completionReason")) or body.finish_reason
            body.texts += [text] if (text := text_of(mapping_of(each).get("outputText"))) else []
    elif "prompt_token_count" in answer or "generation_token_count" in answer:
        body.meters = Meters(
            input_fresh=count_of(answer.get("prompt_token_count")),
            output=count_of(answer.get("generation_token_count")),
        )
        body.texts += [text] if (text := text_of(answer.get("generation"))) else []
    elif "prompt" in answer and "completions" in answer:
        tokens = mapping_of(answer["prompt"]).get("tokens")
        told = answer["completions"]
        completions = [mapping_of(mapping_of(each).get("data")) for each in told] if isinstance(told, list) else []
        lengths = [len(each["tokens"]) for each in completions if isinstance(each.get("tokens"), list)]
        body.meters = Meters(
            input_fresh=len(tokens) if isinstance(tokens, list) else None, output=sum(lengths) if lengths else None
        )
        body.texts += [text for each in completions if (text := text_of(each.get("text")))]
    return body


def _read_part(part: Mapping[str, Any], body: BodyUsage) -> None:
    text = text_of(part.get("text"))
    if text:
        body.texts.append(text)
    if "toolUse" in part:
        body.texts.append(json.dumps(part["toolUse"], ensure_ascii=False))


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := count_of(usage.get(name))) is not None), None)
