"""Objects that an emitter wrote as JSON text into an attribute, because attributes hold none."""

from __future__ import annotations

import json
from typing import Any

MAX_EMBEDDED = 4 * 1024 * 1024


def load_object(value: Any) -> dict[str, Any]:
    """Return an object given as such or as JSON text; an empty one where it is neither."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, str) or len(value) > MAX_EMBEDDED or not value.lstrip().startswith("{"):
        return {}
    try:
        loaded = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def load_text(value: Any) -> Any:
    """Return what a JSON text says where it is one, such as ``"LLM"`` in quotes; else the value itself."""
    if isinstance(value, str) and value[:1] in '"[{' and len(value) <= MAX_EMBEDDED:
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value


def copy_counts(source: dict[str, Any], places: dict[str, str], fields: dict[str, Any]) -> None:
    """Set fields that are not set from an object's keys: ``places`` maps key to field, the first present wins."""
    for key, name in places.items():
        if source.get(key) is not None and name not in fields:
            fields[name] = source[key]
