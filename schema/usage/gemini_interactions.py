"""Gemini's Interactions API: totals by kind of token; thoughts and tools' results stand beside output and input.

Source: recorded bodies of 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.usage import gemini
from inferometer.schema.usage.body import BodyUsage, mapping_of, text_of

_NAMES = {
    "total_input_tokens": "promptTokenCount",
    "total_output_tokens": "candidatesTokenCount",
    "total_cached_tokens": "cachedContentTokenCount",
    "total_thought_tokens": "thoughtsTokenCount",
    "total_tool_use_tokens": "toolUsePromptTokenCount",
    "total_tokens": "totalTokenCount",
}


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what an interaction says."""
    usage = mapping_of(answer.get("usage"))
    body = gemini.read_usage({_NAMES[key]: value for key, value in usage.items() if key in _NAMES})
    body.raw = dict(usage) or None
    body.model, body.response_id = text_of(answer.get("model")), text_of(answer.get("id"))
    body.finish_reason, body.service_tier = text_of(answer.get("status")), text_of(answer.get("service_tier"))
    body.is_complete = body.finish_reason not in {"in_progress", None}
    return body


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what the last interaction of a stream of events says."""
    last: Mapping[str, Any] = {}
    for event in events:
        last = mapping_of(event.get("interaction")) or last
    return read_body(last)
