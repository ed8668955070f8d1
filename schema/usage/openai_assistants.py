"""OpenAI's Assistants: a run on a thread is one call to be billed, however often it is asked how it stands.

A run tells its usage once it has ended; input holds cached tokens. The steps of a run tell theirs as well, which the
run's holds.

Source: platform.openai.com/docs/api-reference/runs; recorded streams of 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.usage import openai
from inferometer.schema.usage.body import BodyUsage, mapping_of, text_of

_OPEN = frozenset({"queued", "in_progress", "requires_action", "cancelling"})


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what a run object says."""
    usage = mapping_of(answer.get("usage"))
    details = usage.get("prompt_token_details")
    body = openai.read_usage({"prompt_tokens_details": details, **usage}) if usage else BodyUsage()
    body.raw = dict(usage) or None
    body.model = text_of(answer.get("model"))
    body.response_id = text_of(answer.get("id"))
    body.finish_reason = text_of(answer.get("status"))
    body.is_complete = body.finish_reason not in _OPEN
    return body


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what a stream of events says: the run as it was told last."""
    last: Mapping[str, Any] = {}
    texts: dict[Any, list[str]] = {}
    for event in events:
        shape = event.get("object")
        if shape == "thread.run":
            last = event
        elif shape == "thread.message.delta":
            content = mapping_of(event.get("delta")).get("content")
            for part in content if isinstance(content, list) else ():
                text = text_of(mapping_of(mapping_of(part).get("text")).get("value"))
                if text:
                    texts.setdefault(str(event.get("id")), []).append(text)
    body = read_body(last)
    body.texts = ["".join(parts) for parts in texts.values()]
    return body
