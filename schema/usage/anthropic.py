"""Anthropic's usage object: input excludes cached tokens, thinking is inside the output.

Source: docs.anthropic.com, Messages API, `usage`; recorded bodies of 2023 to 2026.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.meters import Meters
from inferometer.schema.records import UsageSemantics
from inferometer.schema.usage.body import BodyUsage, Fee, count_of, mapping_of, text_of

SEMANTICS = UsageSemantics.EXCLUSIVE

_FEES = {"web_search_requests": "web_search", "web_fetch_requests": "web_fetch"}


def read_usage(usage: Mapping[str, Any]) -> BodyUsage:
    """Return the meters of a ``usage`` object."""
    split = mapping_of(usage.get("cache_creation"))
    five_minutes = count_of(split.get("ephemeral_5m_input_tokens"))
    one_hour = count_of(split.get("ephemeral_1h_input_tokens"))
    written = count_of(usage.get("cache_creation_input_tokens"))
    if written is not None and (five_minutes or 0) + (one_hour or 0) != written:
        # the sum is what is billed; what the split leaves out has the default lifetime
        five_minutes = max(0, written - (one_hour or 0))
    details = mapping_of(usage.get("output_tokens_details"))
    body = BodyUsage(
        meters=Meters(
            input_fresh=count_of(usage.get("input_tokens")),
            cache_read=count_of(usage.get("cache_read_input_tokens")),
            cache_write_5m=five_minutes,
            cache_write_1h=one_hour,
            output=count_of(usage.get("output_tokens")),
            reasoning=count_of(details.get("thinking_tokens")),
        ),
        semantics=SEMANTICS,
        raw=dict(usage),
        service_tier=text_of(usage.get("service_tier")),
    )
    tools = mapping_of(usage.get("server_tool_use"))
    for key, sku in _FEES.items():
        quantity = count_of(tools.get(key))
        if quantity:
            body.fees.append(Fee(sku, quantity, "request"))
    iterations = usage.get("iterations")
    for part in iterations if isinstance(iterations, list) else ():
        part = mapping_of(part)
        if part.get("type") not in (None, "message"):
            # an advisor's or a compaction's tokens are not in the sums of the message
            inner = read_usage({key: value for key, value in part.items() if key != "iterations"})
            inner.model = text_of(part.get("model"))
            inner.reasons.append(f"inner call of the provider: {part['type']}")
            body.inner.append(inner)
    return body


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what a message says."""
    usage = mapping_of(answer.get("usage"))
    body = read_usage(usage) if usage else BodyUsage(semantics=SEMANTICS)
    _read_head(answer, body)
    content = answer.get("content")
    for part in content if isinstance(content, list) else ():
        part = mapping_of(part)
        for key in ("text", "thinking", "name"):
            if isinstance(part.get(key), str) and part[key]:
                body.texts.append(part[key])
        if part.get("type") in ("tool_use", "server_tool_use"):
            body.texts.append(json.dumps(part.get("input"), ensure_ascii=False))
    return body


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what a stream of events says; what a later event repeats replaces what an earlier one said."""
    usage: dict[str, Any] = {}
    head = BodyUsage()
    texts: dict[Any, list[str]] = {}
    finished = False
    for event in events:
        kind = event.get("type")
        if kind == "message_start":
            message = mapping_of(event.get("message"))
            usage |= _told(mapping_of(message.get("usage")))
            _read_head(message, head)
        elif kind == "message_delta":
            usage |= _told(mapping_of(event.get("usage")))
            head.finish_reason = text_of(mapping_of(event.get("delta")).get("stop_reason")) or head.finish_reason
            finished = finished or head.finish_reason is not None
        elif kind == "content_block_delta":
            delta = mapping_of(event.get("delta"))
            for key in ("text", "thinking", "partial_json"):
                if isinstance(delta.get(key), str):
                    texts.setdefault(str(event.get("index")), []).append(delta[key])
        elif kind == "content_block_start":
            name = text_of(mapping_of(event.get("content_block")).get("name"))
            if name:
                texts.setdefault(str(event.get("index")), []).append(name)
    body = read_usage(usage) if usage else BodyUsage(semantics=SEMANTICS)
    body.model, body.response_id, body.finish_reason = head.model, head.response_id, head.finish_reason
    body.texts = ["".join(parts) for parts in texts.values()]
    body.is_complete = finished
    if usage and not finished and body.meters.output is not None:
        # the first event tells a count of a few tokens, which the last one would have replaced
        body.meters.output = None
        body.reasons.append("the stream broke off: its output count is that of its start and was left out")
    return body


def _told(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in usage.items() if value is not None}


def _read_head(message: Mapping[str, Any], body: BodyUsage) -> None:
    body.model = text_of(message.get("model"))
    body.response_id = text_of(message.get("id"))
    body.finish_reason = text_of(message.get("stop_reason"))
