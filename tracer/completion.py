"""What is computed about a span after its call: fingerprints, token counts, content where it is kept.

It runs on the export thread wherever what it reads cannot change after the call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from inferometer.schema import attributes as names
from inferometer.tokens.fingerprint import argument_fingerprint
from inferometer.tokens.key import load_key
from inferometer.tracer.arguments import is_plain
from inferometer.tracer.guard import report
from inferometer.tracer.privacy import Privacy, to_json

if TYPE_CHECKING:
    from inferometer.tokens.key import HashKey
    from inferometer.tracer.activity import Plan
    from inferometer.tracer.span import Work


def call_work(plan: Plan, arguments: Callable[[], Any], result: Any, privacy: Privacy) -> Work:
    """Return the work of one decorated call; `arguments` names them, or is their JSON."""

    def work(attributes: dict[str, Any]) -> None:
        named = arguments()
        if plan.kind == "tool":
            describe_tool_call(attributes, plan.name, named, result, privacy)
        elif privacy.keeps_content:
            privacy.write(attributes, names.INPUT, named)
            privacy.write(attributes, names.OUTPUT, result)

    return work


def describe_tool_call(attributes: dict[str, Any], tool: str, arguments: Any, result: Any, privacy: Privacy) -> None:
    """Add a tool call's fingerprint and result size, and its content where that is kept.

    Args:
        attributes: of the span.
        tool: its name.
        arguments: a mapping, or JSON text of one.
        result: whatever the tool returned; None where it failed.
        privacy: the rules in force.
    """
    if not privacy.keeps_metadata:
        return
    try:
        key = load_key()
        found = fingerprint_of(tool, arguments, key)
        if found is not None:
            attributes[names.ARGUMENT_FINGERPRINT] = found
            attributes[names.KEY_ID] = key.key_id
    except Exception as error:
        report("fingerprint", error)
    if result is not None:
        try:
            attributes[names.RESULT_TOKENS] = count_tokens(result if isinstance(result, str) else to_json(result))
        except Exception as error:
            report("token count", error)
    if privacy.keeps_content:
        privacy.write(attributes, names.TOOL_ARGUMENTS, arguments)
        privacy.write(attributes, names.TOOL_RESULT, result)


def fingerprint_of(tool: str, arguments: Any, key: HashKey | None = None) -> str | None:
    """Return the keyed fingerprint of a call; objects of a program count by what they hold, not by their type."""
    if isinstance(arguments, dict) and not is_plain((), arguments):
        arguments = to_json(arguments)
    return argument_fingerprint(tool, arguments, key)


def count_tokens(text: str) -> int:
    """Return how many tokens of o200k_base a text is; the model's own count scales it."""
    from inferometer import tokens

    return int(tokens.encoding("o200k_base").count(text))
