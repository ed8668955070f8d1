"""The input of a call out of a span's attributes, whichever way its dialect spreads it over them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from inferometer.ingest.dialects.dialect import Fields
from inferometer.store.encoding import parse_json

MAX_MESSAGES = 10_000
INPUTS = ("llm.input_messages.", "gen_ai.prompt.")
_INDEXED = re.compile(r"(\d{1,5})\.(?:message\.)?(.+)$")
_PART = re.compile(r"^(?:contents|tool_calls)\.(\d{1,5})\.(?:message_content\.|tool_call\.)?(.+)$")


def input_of(attributes: Mapping[str, Any], fields: Fields) -> tuple[Any, Any, Any] | None:
    """Return system instructions, messages and tool definitions; None where a span holds no input.

    Args:
        attributes: as the emitter wrote them.
        fields: read from them.
    """
    messages = load_value(fields.get("input_messages", fields.get("prompt_messages")))
    if messages is None:
        messages = indexed_messages(attributes, INPUTS) or None
    if messages is None:
        whole = load_value(fields.get("value_input"))
        if isinstance(whole, dict):
            messages = whole.get("messages") or whole.get("contents") or whole.get("prompt")
        else:
            messages = whole
    system, tools = load_value(fields.get("system")), load_value(fields.get("tool_definitions"))
    return None if messages is None and system is None else (system, messages, tools)


def load_value(value: Any) -> Any:
    """Return a value with the JSON that its text holds read; other text and values as they are."""
    if isinstance(value, str):
        if value[:1] in {"[", "{", '"'}:
            try:
                return parse_json(value)
            except (ValueError, RecursionError):
                return value
        return value or None
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return [load_value(item) for item in value]
    return value


def indexed_messages(attributes: Mapping[str, Any], beginnings: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return messages that are spread over one attribute a part, under keys of these beginnings."""
    found: dict[int, dict[str, Any]] = {}
    for key, value in attributes.items():
        if not key.startswith(beginnings):
            continue
        place = _INDEXED.match(key, next(len(each) for each in beginnings if key.startswith(each)))
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
