"""Which interface an answer came from, told from the answer alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferometer.schema.usage.body import mapping_of

_CONVERSE_EVENTS = frozenset({"messageStart", "contentBlockDelta", "contentBlockStart", "messageStop", "metadata"})
_COHERE_EVENTS = frozenset(
    {"message-start", "content-start", "content-delta", "message-end", "stream-start", "stream-end"}
)


def interface_of(answer: Mapping[str, Any]) -> str | None:
    """Return the key of `endpoints.READERS` for an answer or one event of its stream; None where it is neither."""
    kind, shape = str(answer.get("type", "")), str(answer.get("object", ""))
    usage = mapping_of(answer.get("usage"))
    if shape == "response" or kind.startswith("response."):
        return "openai_responses"
    if shape == "thread.run":
        return "openai_assistants"
    if isinstance(answer.get("choices"), list) or shape.startswith(("chat.completion", "text_completion")):
        return "openai"
    if kind == "message_start" or (kind == "message" and answer.get("role") == "assistant"):
        return "anthropic"
    if "candidates" in answer or "usageMetadata" in answer:
        return "gemini"
    if shape == "interaction" or "interaction" in answer:
        return "gemini_interactions"
    if ("output" in answer and "stopReason" in answer) or (not kind and not _CONVERSE_EVENTS.isdisjoint(answer)):
        return "bedrock"
    if kind in _COHERE_EVENTS or "billed_units" in usage or "billed_units" in mapping_of(answer.get("meta")):
        return "cohere"
    if "done" in answer and "model" in answer:
        return "ollama"
    if (shape == "rerank" or (shape == "list" and "data" in answer)) and usage:
        return "openai"
    if "inputTextTokenCount" in answer or "generation_token_count" in answer:
        return "bedrock"
    return None
