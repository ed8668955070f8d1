"""What was said in a call, where its span still holds it: the store keeps content only where it was asked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferometer.ingest.dialects.dialect import Fields
from inferometer.ingest.inputs import indexed_messages, input_of, load_value
from inferometer.ingest.plans import plan_of
from inferometer.ingest.reprocess import raw_of
from inferometer.ingest.retention import MAX_CONTENT
from inferometer.schema.messages import parts_of
from inferometer.schema.records import Span

_ANSWERS = ("llm.output_messages.", "gen_ai.completion.")
_WORDS = ("ai.response.text", "ai.response.toolCalls", "ai.response.object", "response_text")
"""Attributes that hold a part of an answer each."""


@dataclass(frozen=True, slots=True)
class KeptText:
    """The texts of a call's input and of its answer, each None where it was not kept, or not whole."""

    input: tuple[str, ...] | None
    answer: tuple[str, ...] | None


def read_kept_text(span: Span) -> KeptText:
    """Return what a stored span still holds of what was said; a shape that nobody foresaw holds nothing."""
    raw = raw_of(span)
    plan = plan_of(raw.scope, raw.attributes)
    try:
        fields = plan.read(raw.attributes)
        if plan.wrapper is not None:
            fields = {**plan.wrapper.read(raw.attributes), **fields}
        if plan.dialect is not None and plan.dialect.refine is not None:
            plan.dialect.refine(raw, fields)
        said, answer = input_of(raw.attributes, fields), _answer_of(raw.attributes, fields)
        return KeptText(None if said is None else _texts(*said), None if answer is None else _texts(None, answer, None))
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError, RecursionError):
        return KeptText(None, None)


def _texts(system: Any, messages: Any, tools: Any) -> tuple[str, ...] | None:
    """Return the texts of messages; None where there are none, or one was cut to be stored."""
    texts = tuple(part.text for part in parts_of(system, messages, tools) if part.text)
    return texts if texts and all(len(text) < MAX_CONTENT for text in texts) else None


def _answer_of(attributes: Mapping[str, Any], fields: Fields) -> Any:
    messages = load_value(fields.get("output_messages")) or indexed_messages(attributes, _ANSWERS)
    if messages:
        return messages
    words = [{"role": "assistant", "content": attributes[key]} for key in _WORDS if attributes.get(key)]
    if words:
        return words
    whole = load_value(fields.get("value_output"))
    if isinstance(whole, dict):
        choices = whole.get("choices")
        if isinstance(choices, list):
            return [choice.get("message") or choice.get("text") for choice in choices]
        return whole.get("messages") or whole.get("content") or whole.get("candidates")
    return whole
