"""The input of a call out of a span's attributes, whichever way its dialect spreads it over them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from inferometer.ingest.dialects.dialect import Fields

MAX_MESSAGES = 10_000
_INDEXED = re.compile(r"^(?:llm\.input_messages|gen_ai\.prompt)\.(\d{1,5})\.(?:message\.)?(.+)$")
_PART = re.compile(r"^(?:contents|tool_calls)\.(\d{1,5})\.(?:message_content\.|tool_call\.)?(.+)$")


def input_of(attributes: Mapping[str, Any], fields: Fields) -> tuple[Any, Any, Any] | None:
    """Return system instructions, messages and tool definitions; None where a span holds no input.

    Args:
        attributes: as the emitter wrote them.
        fields: read from them.
    """
    messages = _loaded(fields.get("input_messages", fields.get("prompt_messages")))
    if messages is None:
        messages = _indexed(attributes) or None
    if messages is None:
        whole = _loaded(fields.get("value_input"))
        if isinstance(whole, dict):
            messages = whole.get("messages") or whole.get("contents") or whole.get("prompt")
        else:
            messages = whole
    system, tools = _loaded(fields.get("system")), _loaded(fields.get("tool_definitions"))
    return None if messages is None and system is None else (system, messages, tools)


def _loaded(value: Any) -> Any:
    if isinstance(value, str):
        if value[:1] in {"[", "{", '"'}:
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                return value
        return value or None
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return [_loaded(item) for item in value]
    return value


def _indexed(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return messages that are spread over one attribute a part."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if not key.startswith(("llm.input_messages.", "gen_ai.prompt.")):
            continue
        place = _INDEXED.match(key)
        if place is None or int(place[1]) >= MAX_MESSAGES:
            continue
        message, name = found.setdefault(int(place[1]), {}), place[2]
        part = _PART.match(name)
        if part is None:
            message[name] = value
        elif name.startswith("contents"):
            if part[2] == "text":
                message.setdefault("content", []).append({"type": "text", "text": value})
        else:
            calls = message.setdefault("tool_calls", {})
            call = calls.setdefault(int(part[1]), {"function": {}})
            call["function"][part[2].rpartition(".")[2]] = value
    for message in found.values():
        if isinstance(message.get("tool_calls"), dict):
            message["tool_calls"] = [message["tool_calls"][place] for place in sorted(message["tool_calls"])]
    return [found[place] for place in sorted(found)]
