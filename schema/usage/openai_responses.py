"""OpenAI's Responses API: input holds cached tokens, output holds reasoning; built-in tools are charged by the call.

Source: platform.openai.com/docs/api-reference/responses; recorded bodies of 2025 and 2026.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.usage import openai
from inferometer.schema.usage.body import BodyUsage, Fee, mapping_of, text_of

_FEES = {
    "web_search_call": "web_search",
    "file_search_call": "file_search",
    "code_interpreter_call": "code_interpreter",
    "image_generation_call": "image_generation",
}


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what a response object says."""
    usage = mapping_of(answer.get("usage"))
    body = openai.read_usage(usage) if usage else BodyUsage()
    body.model = text_of(answer.get("model"))
    body.response_id = text_of(answer.get("id"))
    body.service_tier = text_of(answer.get("service_tier"))
    status = text_of(answer.get("status"))
    incomplete = text_of(mapping_of(answer.get("incomplete_details")).get("reason"))
    body.finish_reason = incomplete or status
    body.is_complete = status not in {"in_progress", "queued"}
    calls = Counter[str]()
    output = answer.get("output")
    for item in output if isinstance(output, list) else ():
        item = mapping_of(item)
        calls[str(item.get("type"))] += 1
        _read_item(item, body)
    body.fees += fees_of(calls)
    return body


def fees_of(item_types: Iterable[str]) -> list[Fee]:
    """Return what the built-in tools among an answer's items are charged for, by the types of the items."""
    calls = item_types if isinstance(item_types, Counter) else Counter(item_types)
    return [Fee(sku, calls[kind], "call") for kind, sku in _FEES.items() if calls[kind]]


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what a stream of events says: the response in its last event, else what came until it broke off."""
    last: Mapping[str, Any] = {}
    texts: dict[Any, list[str]] = {}
    finished = False
    for event in events:
        last = mapping_of(event.get("response")) or last
        kind = str(event.get("type", ""))
        finished = finished or kind in {"response.completed", "response.incomplete", "response.failed"}
        if kind.endswith(".delta") and isinstance(event.get("delta"), str):
            texts.setdefault(str(event.get("item_id")), []).append(event["delta"])
    body = read_body(last)
    body.is_complete = finished
    if texts:
        body.texts = ["".join(parts) for parts in texts.values()]
    return body


def _read_item(item: Mapping[str, Any], body: BodyUsage) -> None:
    for key in ("content", "summary"):
        parts = item.get(key)
        for part in parts if isinstance(parts, list) else ():
            text = text_of(mapping_of(part).get("text"))
            if text:
                body.texts.append(text)
    for key in ("name", "arguments"):
        text = text_of(item.get(key))
        if text:
            body.texts.append(text)
