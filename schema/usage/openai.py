"""OpenAI's chat completions, completions and embeddings, and the many that speak alike, ranks among them.

Azure, Groq, DeepSeek, xAI, OpenRouter, Together, Mistral, Cerebras, Moonshot, Perplexity, Hugging Face, vLLM, Voyage
AI. Input holds cached tokens. Output holds reasoning, except where the total says that it stands beside (xAI).

Source: platform.openai.com/docs/api-reference, api-docs.deepseek.com, openrouter.ai/docs; recorded bodies 2023 to 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inferometer.schema.meters import Meters
from inferometer.schema.records import Operation, UsageSemantics
from inferometer.schema.usage.arithmetic import all_output, fitted, is_inclusive
from inferometer.schema.usage.body import BodyUsage, Fee, count_of, mapping_of, money_of, text_of

SEMANTICS = UsageSemantics.INCLUSIVE


def read_usage(usage: Mapping[str, Any]) -> BodyUsage:
    """Return the meters of a ``usage`` object with ``prompt_tokens`` and ``completion_tokens``."""
    prompt = mapping_of(usage.get("prompt_tokens_details") or usage.get("input_tokens_details"))
    completion = mapping_of(usage.get("completion_tokens_details") or usage.get("output_tokens_details"))
    given = _first(usage.get("prompt_tokens"), usage.get("input_tokens"))
    output = _first(usage.get("completion_tokens"), usage.get("output_tokens"))
    total = count_of(usage.get("total_tokens"))
    cache_read = _first(
        prompt.get("cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),
        usage.get("num_cached_tokens"),
        usage.get("cache_read_input_tokens"),
    )
    written = _first(
        prompt.get("cache_write_tokens"), prompt.get("cache_creation_tokens"), usage.get("cache_creation_input_tokens")
    )
    reasoning = _first(completion.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    body = BodyUsage(semantics=SEMANTICS, raw=dict(usage), cost_usd=money_of(usage.get("cost")))
    cached = (cache_read or 0) + (written or 0)
    inclusive = True
    if given is not None and cached:
        inclusive, why = is_inclusive(given, cached, output, total, reasoning, True)
        if why:
            body.semantics = UsageSemantics.EXCLUSIVE
            body.reasons.append(why)
    if inclusive and given is not None:
        (cache_read, written), why = fitted(given, cache_read, written)
        body.reasons += [why] if why else []
        cached = (cache_read or 0) + (written or 0)
    all_input = given if inclusive or given is None else given + cached
    if output is not None:
        output, why = all_output(output, reasoning, all_input, total, beside=False)
        body.reasons += [why] if why else []
    elif total is not None and all_input is not None and total >= all_input:
        output = total - all_input
    body.meters = Meters(
        input_fresh=None if all_input is None else max(0, all_input - cached),
        cache_read=cache_read,
        cache_write_5m=written,
        output=output,
        reasoning=reasoning,
        input_text=count_of(prompt.get("text_tokens")),
        input_audio=count_of(prompt.get("audio_tokens")),
        input_image=count_of(prompt.get("image_tokens")),
        output_text=count_of(completion.get("text_tokens")),
        output_audio=count_of(completion.get("audio_tokens")),
        output_image=count_of(completion.get("image_tokens")),
    )
    searches = count_of(usage.get("num_search_queries"))
    if searches:
        body.fees.append(Fee("web_search", searches, "request"))
    return body


def read_body(answer: Mapping[str, Any]) -> BodyUsage:
    """Return what an answer that came as a whole says."""
    usage = mapping_of(answer.get("usage")) or mapping_of(mapping_of(answer.get("x_groq")).get("usage"))
    body = read_usage(usage) if usage else BodyUsage()
    _read_head(answer, body)
    for choice in _choices(answer):
        body.finish_reason = body.finish_reason or text_of(choice.get("finish_reason"))
        _read_message(mapping_of(choice.get("message")), body)
        _add_text(choice.get("text"), body)
    if (answer.get("object") == "list" and "data" in answer) or "results" in answer:
        _read_vectors(answer, count_of(usage.get("total_tokens")), body)
    elif answer.get("object") == "text_completion":
        body.operation = Operation.COMPLETION
    return body


def read_stream(events: Iterable[Mapping[str, Any]]) -> BodyUsage:
    """Return what a stream of chunks says; the last usage wins, for usage may come with every chunk."""
    usage: Mapping[str, Any] = {}
    head = BodyUsage(is_complete=False)
    texts: dict[Any, list[str]] = {}
    for event in events:
        _read_head(event, head)
        if event.get("object") == "text_completion":
            head.operation = Operation.COMPLETION
        usage = mapping_of(event.get("usage")) or mapping_of(mapping_of(event.get("x_groq")).get("usage")) or usage
        for choice in _choices(event):
            reason = text_of(choice.get("finish_reason"))
            if reason:
                head.finish_reason, head.is_complete = reason, True
            part = BodyUsage()
            _read_message(mapping_of(choice.get("delta")), part)
            _add_text(choice.get("text"), part)
            texts.setdefault(str(choice.get("index")), []).extend(part.texts)
    body = read_usage(usage) if usage else BodyUsage()
    body.model, body.response_id, body.service_tier = head.model, head.response_id, head.service_tier
    body.finish_reason, body.is_complete, body.operation = head.finish_reason, head.is_complete, head.operation
    body.texts = ["".join(parts) for parts in texts.values()]
    return body


def _read_vectors(answer: Mapping[str, Any], total: int | None, body: BodyUsage) -> None:
    """Read embeddings or ranks: they make no tokens, so a total that stands alone (Voyage AI) went in."""
    entries = answer.get("data", answer.get("results"))
    first = mapping_of(entries[0]) if isinstance(entries, list) and entries else {}
    body.operation = Operation.RERANK if "relevance_score" in first else Operation.EMBEDDING
    if body.meters.input_fresh is None:
        body.meters.input_fresh = total
    if body.meters.output is None and body.meters.is_known:
        body.meters.output = 0


def _read_head(answer: Mapping[str, Any], body: BodyUsage) -> None:
    body.model = text_of(answer.get("model")) or body.model
    body.response_id = text_of(answer.get("id")) or body.response_id
    body.service_tier = text_of(answer.get("service_tier")) or body.service_tier


def _choices(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    choices = answer.get("choices")
    return [choice for choice in choices if isinstance(choice, Mapping)] if isinstance(choices, list) else []


def _read_message(message: Mapping[str, Any], body: BodyUsage) -> None:
    for key in ("reasoning_content", "reasoning", "content", "refusal"):
        _add_text(message.get(key), body)
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else ():
        function = mapping_of(mapping_of(call).get("function"))
        _add_text(function.get("name"), body)
        _add_text(function.get("arguments"), body)


def _add_text(value: Any, body: BodyUsage) -> None:
    if isinstance(value, str) and value:
        body.texts.append(value)
    elif isinstance(value, list):
        for part in value:
            _add_text(mapping_of(part).get("text"), body)


def _first(*values: Any) -> int | None:
    return next((count for value in values if (count := count_of(value)) is not None), None)
