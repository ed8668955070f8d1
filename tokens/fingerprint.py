"""Keyed fingerprints of tool arguments: equal calls are seen as equal, what they said is not kept."""

from __future__ import annotations

import json
from typing import Any

from inferometer.tokens.key import HashKey, load_key


def canonical_json(value: Any) -> bytes:
    """Return one byte string for all spellings of a JSON value: sorted keys, no white space, UTF-8.

    Values JSON does not have are written as the name of their type, since their own text may hold an address.

    Raises:
        ValueError, RecursionError: the value contains itself or is nested too deeply.
    """
    text = json.dumps(
        _with_text_keys(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_name_type
    )
    return text.encode("utf-8", "surrogatepass")


def argument_fingerprint(tool: str, arguments: Any, key: HashKey | None = None) -> str | None:
    """Return 32 hex digits that calls of one tool with the same arguments share.

    Args:
        tool: the tool's name.
        arguments: a JSON value, or its text; text that is not JSON counts as it stands.
        key: the secret; the user's own where None.

    Returns:
        The fingerprint; None where the arguments cannot be written as JSON.
    """
    if isinstance(arguments, (bytes, bytearray)):
        arguments = bytes(arguments).decode("utf-8", "replace")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            arguments = {"text": arguments}
    try:
        message = canonical_json([tool, arguments])
    except (ValueError, RecursionError):
        return None
    return (key or load_key()).digest(message, b"arguments", 16).hex()


def _with_text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _with_text_keys(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(item) for item in value]
    return value


def _name_type(value: Any) -> str:
    return f"<{type(value).__qualname__}>"
