"""The texts of a model call's input, whichever provider's shape they come in, and what each of them is.

The order is the one in which providers build a prompt: tools, system, then the conversation. Images, audio and files
have no text and are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

MAX_DEPTH = 8


class Origin(StrEnum):
    """What a text of the input is, as in `schema.records.Composition`."""

    SYSTEM = "system"
    TOOLS = "tools"
    HISTORY = "history"
    TOOL_RESULTS = "tool_results"
    USER = "user"


class Part(NamedTuple):
    """One text of the input; ``name`` is that of a tool offered."""

    origin: Origin
    text: str
    name: str = ""


_SYSTEM_ROLES = frozenset({"system", "developer"})
_TOOL_ROLES = frozenset({"tool", "function"})
_USER_ROLES = frozenset({"user", "human"})
_RESULT_TYPES = frozenset(
    {"tool_result", "function_call_output", "function_response", "toolResult", "tool", "tool_call_response"}
)


def parts_of(system: Any, messages: Any, tools: Any) -> list[Part]:
    """Return the texts of a request's input.

    Args:
        system: system instructions: a text or blocks of text.
        messages: a text, or the messages, in the shape of OpenAI (chat or responses), Anthropic, Gemini, Bedrock or
            LangChain, as mappings or objects.
        tools: tool definitions in any of their shapes.
    """
    parts = [Part(Origin.TOOLS, text, name) for name, text in tool_texts(tools)]
    if text := text_of(system):
        parts.append(Part(Origin.SYSTEM, text))
    if isinstance(messages, str):
        return [*parts, Part(Origin.USER, messages)]
    turns: list[Part] = []
    for message in _sequence(messages):
        turns += _message_parts(message)
    # what the user said before the last answer of the model is history; what came after it is the question at hand
    answered = max((place for place, part in enumerate(turns) if part.name == "assistant"), default=-1)
    for place, part in enumerate(turns):
        origin = Origin.HISTORY if part.origin is Origin.USER and place < answered else part.origin
        parts.append(Part(origin, part.text))
    return parts


def _message_parts(message: Any) -> Iterator[Part]:
    if isinstance(message, str):
        yield Part(Origin.USER, message)
        return
    kind = str(_get(message, "type") or "")
    role = str(_get(message, "role") or kind or "user")
    if role in _SYSTEM_ROLES:
        origin = Origin.SYSTEM
    elif role in _TOOL_ROLES or kind in _RESULT_TYPES:
        origin = Origin.TOOL_RESULTS
    elif role in _USER_ROLES:
        origin = Origin.USER
    else:
        origin = Origin.HISTORY
    speaker = "assistant" if origin is Origin.HISTORY else ""
    content = _first(message, "content", "parts", "output")
    if content is not None and not isinstance(content, str):
        yield from _block_parts(content, origin, speaker)
    elif content:
        yield Part(origin, content, speaker)
    for call in _sequence(_get(message, "tool_calls")):
        yield Part(Origin.HISTORY, _call_text(call), "assistant")
    if kind == "function_call":
        yield Part(Origin.HISTORY, _call_text(message), "assistant")


def _block_parts(blocks: Any, origin: Origin, speaker: str) -> Iterator[Part]:
    for block in _sequence(blocks):
        kind = str(_get(block, "type") or "")
        if kind == "text" and type(block) is dict and len(block) == 2:
            # the plainest block is the commonest: its other key holds its text, and nothing else can
            if text := text_of(block):
                yield Part(origin, text, speaker)
            continue
        result = _first(block, "toolResult", "function_response")
        call = _first(block, "toolUse", "function_call")
        if kind in _RESULT_TYPES or result is not None:
            text = text_of(_first(result if result is not None else block, "content", "output", "response", "result"))
            part = Part(Origin.TOOL_RESULTS, text)
        elif kind in ("tool_use", "tool_call", "function_call") or call is not None:
            part = Part(Origin.HISTORY, _call_text(call if call is not None else block), "assistant")
        else:
            part = Part(origin, text_of(block), speaker)
        if part.text:
            yield part


def _call_text(call: Any) -> str:
    function = _get(call, "function")
    inner = function if function is not None else call
    arguments = _first(inner, "arguments", "input", "args")
    return f"{_get(inner, 'name') or ''}{arguments if isinstance(arguments, str) else to_json(arguments)}"


def tool_texts(tools: Any) -> Iterator[tuple[str, str]]:
    """Yield (name, JSON text) of each tool offered."""
    for tool in _sequence(tools):
        declared = _first(tool, "function_declarations", "functionDeclarations")
        if declared is not None:
            yield from tool_texts(declared)
            continue
        inner = _first(tool, "function", "toolSpec")
        name = str(_first(inner if inner is not None else tool, "name", "type") or type(tool).__name__)
        yield name, to_json(tool)


def text_of(content: Any, depth: int = 0) -> str:
    """Return the text in a content of any shape; empty where it has none."""
    if isinstance(content, str):
        return content
    if content is None or depth > MAX_DEPTH:
        return ""
    if isinstance(content, (list, tuple)):
        return "\n".join(filter(None, (text_of(item, depth + 1) for item in content)))
    value = _first(content, "text", "thinking", "content", "parts", "output")
    if value is not None:
        return text_of(value, depth + 1)
    if (data := _get(content, "json")) is not None and not callable(data):
        return json.dumps(data, default=str)
    if isinstance(content, Mapping) and "type" not in content and "inline_data" not in content:
        return to_json(content)
    return ""


def to_json(value: Any) -> str:
    """Return JSON text of anything; what JSON has no word for is named by its type."""
    try:
        return json.dumps(value, ensure_ascii=False, default=lambda other: f"<{type(other).__qualname__}>")
    except (ValueError, RecursionError):
        return ""


def _sequence(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _first(value: Any, *keys: str) -> Any:
    if type(value) is dict:
        # nearly all are; asking the abstract class about each costs more than everything else here
        for key in keys:
            found = value.get(key)
            if found is not None and not callable(found):
                return found
        return None
    for key in keys:
        found = _get(value, key)
        if found is not None and not callable(found):
            return found
    return None


def _get(value: Any, key: str) -> Any:
    if type(value) is dict or isinstance(value, Mapping):
        return value.get(key)
    return getattr(value, key, None) if not isinstance(value, (str, bytes, int, float)) else None
