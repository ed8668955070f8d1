"""What a call's input is made of and which prefix it shares, computed after the call; content is dropped then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Span

from inferometer.schema import attributes as names
from inferometer.tracer.privacy import Privacy

if TYPE_CHECKING:
    from inferometer.tracer.calls import Answer, Request
    from inferometer.tracer.span import Work


def call_work(span: Span, request: Request, answer: Answer | None, privacy: Privacy) -> Work:
    """Return the work of one model call."""
    system, messages, tools = request.system, snapshot(request.messages), request.tools
    output = answer.output if answer is not None else None
    raw_usage = answer.raw_usage if answer is not None else None

    def work(attributes: dict[str, Any]) -> None:
        if raw_usage:
            from inferometer.tracer.privacy import to_json

            attributes[names.USAGE_RAW] = to_json(raw_usage)
        if privacy.keeps_content:
            privacy.write(attributes, names.SYSTEM_INSTRUCTIONS, system)
            privacy.write(attributes, names.INPUT_MESSAGES, messages)
            privacy.write(attributes, names.TOOL_DEFINITIONS, tools)
            privacy.write(attributes, names.OUTPUT_MESSAGES, output)

    return work


def snapshot(messages: Any) -> Any:
    """Return messages so that a list which grows after the call does not change what is kept of it."""
    return list(messages) if isinstance(messages, (list, tuple)) else messages
