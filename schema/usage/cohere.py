"""Cohere: what is billed (``billed_units``) before what was processed (``tokens``); rerank is charged by the search.

Source: docs.cohere.com, `ApiMeta`; recorded bodies of 2024 to 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.meters import Meters
from inferometer.schema.records import Operation, UsageSemantics
from inferometer.schema.usage.body import BodyUsage, Fee, count_of, mapping_of, text_of

SEMANTICS = UsageSemantics.INCLUSIVE


def read_usage(usage: Mapping[str, Any]) -> BodyUsage:
    """Return the meters of a ``meta`` or ``usage`` object."""
    billed, tokens = mapping_of(usage.get("billed_units")), mapping_of(usage.get("tokens"))
    counted = billed if "input_tokens" in billed or "output_tokens" in billed else tokens
    cached = count_of(usage.get("cached_tokens"))
    given = count_of(counted.get("input_tokens"))
    body = BodyUsage(semantics=SEMANTICS, raw=dict(usage))
    if given is not None and cached is not None and cached <= given:
        given -= cached
    else:
        cached = None
    body.meters = Meters(input_fresh=given, cache_read=cached, output=count_of(counted.get("output_tokens")))
    searches = count_of(billed.get("search_units"))
    if searches:
        body.fees.append(Fee("rerank_search", searches, "search unit"))
    return body


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what an answer says, of chat version 1 or 2, embed, rerank or generate."""
    usage = mapping_of(answer.get("usage")) or mapping_of(answer.get("meta"))
    body = read_usage(usage) if usage else BodyUsage(semantics=SEMANTICS)
    body.response_id = text_of(answer.get("id")) or text_of(answer.get("generation_id"))
    body.finish_reason = text_of(answer.get("finish_reason"))
    if "embeddings" in answer:
        body.operation = Operation.EMBEDDING
        if body.meters.output is None and body.meters.is_known:
            body.meters.output = 0
    elif "results" in answer:
        body.operation = Operation.RERANK
    body.texts += [text] if (text := text_of(answer.get("text"))) else []
    content = mapping_of(answer.get("message")).get("content")
    for part in content if isinstance(content, list) else ():
        body.texts += [text] if (text := text_of(mapping_of(part).get("text"))) else []
    return body


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what a stream of events of version 1 or 2 says."""
    usage: Mapping[str, Any] = {}
    texts: list[str] = []
    head = BodyUsage(is_complete=False)
    for event in events:
        kind = event.get("type") or event.get("event_type")
        response, delta = mapping_of(event.get("response")), mapping_of(event.get("delta"))
        head.response_id = text_of(event.get("id")) or text_of(response.get("generation_id")) or head.response_id
        usage = mapping_of(response.get("meta")) or mapping_of(delta.get("usage")) or usage
        reason = text_of(event.get("finish_reason")) or text_of(delta.get("finish_reason"))
        if kind in ("message-end", "stream-end") or reason:
            head.finish_reason, head.is_complete = reason or head.finish_reason, True
        text = event.get("text") or mapping_of(mapping_of(delta.get("message")).get("content")).get("text")
        if isinstance(text, str) and kind != "stream-end":
            texts.append(text)
    body = read_usage(usage) if usage else BodyUsage(semantics=SEMANTICS)
    body.response_id, body.finish_reason, body.is_complete = head.response_id, head.finish_reason, head.is_complete
    body.texts = ["".join(texts)] if texts else []
    return body
