"""What a call's input is made of and which prefix it shares, computed after the call; content is dropped then."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from inferometer.schema import attributes as names
from inferometer.schema.messages import Origin, Part, parts_of
from inferometer.schema.records import UsageSource
from inferometer.tracer.guard import report
from inferometer.tracer.prefixes import PrefixMemory
from inferometer.tracer.privacy import Privacy, to_json

if TYPE_CHECKING:
    from inferometer.tracer.exchange import Answer, Request

VOCABULARY = "o200k_base"
_COMPOSITION = {
    Origin.SYSTEM: names.COMPOSITION_SYSTEM,
    Origin.TOOLS: names.COMPOSITION_TOOLS,
    Origin.HISTORY: names.COMPOSITION_HISTORY,
    Origin.TOOL_RESULTS: names.COMPOSITION_TOOL_RESULTS,
    Origin.USER: names.COMPOSITION_USER,
}

memory = PrefixMemory()
if hasattr(os, "register_at_fork"):
    # the child's spans reach the destination apart from the parent's: they may not lean on each other
    os.register_at_fork(after_in_child=memory.after_fork)


def complete_call(
    attributes: dict[str, Any], span: SpanContext, request: Request, answer: Answer, privacy: Privacy
) -> None:
    """Add what a call's input is made of, its prefix, its raw usage, and its content where that is kept."""
    if answer.raw_usage:
        attributes[names.USAGE_RAW] = to_json(answer.raw_usage)
    if privacy.keeps_content:
        privacy.write(attributes, names.SYSTEM_INSTRUCTIONS, request.system)
        privacy.write(attributes, names.INPUT_MESSAGES, request.messages)
        privacy.write(attributes, names.TOOL_DEFINITIONS, request.tools)
        privacy.write(attributes, names.OUTPUT_MESSAGES, answer.output)
    try:
        parts = parts_of(request.system, request.messages, request.tools)
        compose(attributes, parts)
        if parts:
            chain(attributes, parts, f"{format_trace_id(span.trace_id)}{format_span_id(span.span_id)}")
        if answer.text and (answer.meters is None or not answer.meters.is_known):
            estimate_usage(attributes, request.model, parts, answer.text)
    except Exception as error:
        report("composition", error)


def compose(attributes: dict[str, Any], parts: Sequence[Part]) -> None:
    """Add the tokens of each origin, and of each tool offered."""
    from inferometer.tokens import encoding

    # agents send the same messages again with each call: what was counted before is remembered
    count = encoding(VOCABULARY).count_remembered
    sums: dict[Origin, int] = {}
    offered: list[tuple[str, int]] = []
    for part in parts:
        tokens = count(part.text)
        sums[part.origin] = sums.get(part.origin, 0) + tokens
        if part.origin is Origin.TOOLS:
            offered.append((part.name, tokens))
    for origin, tokens in sums.items():
        attributes[_COMPOSITION[origin]] = tokens
    if offered:
        attributes[names.TOOLS_OFFERED], attributes[names.TOOLS_OFFERED_TOKENS] = zip(*offered, strict=True)


def chain(attributes: dict[str, Any], parts: Sequence[Part], span: str) -> None:
    """Add the prefix hashes of an input: what is new in them since an earlier span of this process."""
    from inferometer.tokens import encoding

    _, found = encoding(VOCABULARY).prefix_chain([part.text for part in parts])
    segment = memory.place(span, found.hashes)
    if segment.base is not None:
        attributes[names.PREFIX_BASE] = segment.base
        attributes[names.PREFIX_SHARED] = segment.shared
    attributes[names.PREFIX_HASHES] = segment.new.hex()
    attributes[names.PREFIX_BLOCK_TOKENS] = found.block_tokens
    attributes[names.PREFIX_VOCABULARY] = found.vocabulary
    attributes[names.KEY_ID] = found.key_id


def estimate_usage(attributes: dict[str, Any], model: str | None, parts: Sequence[Part], output: str) -> None:
    """Count the text of a call whose provider told no usage, with the model's own vocabulary where it is known.

    It is marked ``counted`` where the vocabulary is the model's, else ``estimated``.
    """
    from inferometer import tokens

    name = tokens.encoding_name_for_model(model) if model else None
    source = UsageSource.COUNTED if name is not None else UsageSource.ESTIMATED
    try:
        encoding = tokens.encoding(name or VOCABULARY)
    except Exception:
        encoding, source = tokens.encoding(VOCABULARY), UsageSource.ESTIMATED
    attributes[names.USAGE_INPUT] = sum(encoding.count_batch([part.text for part in parts]))
    attributes[names.USAGE_OUTPUT] = encoding.count(output)
    attributes[names.USAGE_SOURCE] = str(source)
