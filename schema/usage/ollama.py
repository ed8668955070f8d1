"""Ollama: prompt and answer counts with their durations in nanoseconds; a prompt found in cache may tell no count.

Source: github.com/ollama/ollama, docs/api.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.meters import Meters
from inferometer.schema.records import Operation, UsageSemantics
from inferometer.schema.usage.body import BodyUsage, count_of, mapping_of, text_of

SEMANTICS = UsageSemantics.INCLUSIVE
_COUNTS = (
    "prompt_eval_count",
    "eval_count",
    "prompt_eval_duration",
    "eval_duration",
    "load_duration",
    "total_duration",
)


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what an answer of chat, generate or embed says."""
    body = BodyUsage(
        meters=Meters(input_fresh=count_of(answer.get("prompt_eval_count")), output=count_of(answer.get("eval_count"))),
        semantics=SEMANTICS,
        raw={key: answer[key] for key in _COUNTS if key in answer} or None,
        model=text_of(answer.get("model")),
        finish_reason=text_of(answer.get("done_reason")),
        prefill_ns=_duration(answer.get("prompt_eval_duration")),
        decode_ns=_duration(answer.get("eval_duration")),
        is_complete=answer.get("done") is not False,
    )
    if "embeddings" in answer or "embedding" in answer:
        body.operation = Operation.EMBEDDING
        if body.meters.is_known:
            body.meters.output = 0
    for text in (answer.get("response"), mapping_of(answer.get("message")).get("content")):
        if isinstance(text, str) and text:
            body.texts.append(text)
    return body


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what a stream of lines says; its last line carries the counts."""
    body = BodyUsage(semantics=SEMANTICS, is_complete=False)
    texts: list[str] = []
    for event in events:
        body = read_body(event)
        texts += body.texts
    body.texts = ["".join(texts)] if texts else []
    return body


def _duration(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**62 else None
