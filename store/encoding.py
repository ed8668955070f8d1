"""JSON text in columns: compact, exact both ways, with orjson where it is installed."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_BYTES_KEY = "$bytes"


def _other(value: Any) -> Any:
    if isinstance(value, bytes):
        return {_BYTES_KEY: base64.b64encode(value).decode()}
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value)


def _dump_plainly(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=_other, ensure_ascii=False)


def _choose_dump() -> Callable[[Any], str]:
    try:
        import orjson
    except ImportError:
        return _dump_plainly

    def dump(value: Any) -> str:
        try:
            return orjson.dumps(value, default=_other).decode()
        except (TypeError, ValueError):
            # integers beyond 64 bits, keys that are no strings, lone surrogates
            return _dump_plainly(value)

    return dump


dump_json: Callable[[Any], str] = _choose_dump()


def _revive(value: dict[str, Any]) -> Any:
    if len(value) == 1 and isinstance(text := value.get(_BYTES_KEY), str):
        return base64.b64decode(text)
    return value


def load_json(text: str) -> Any:
    """Return what `dump_json` was given; tuples come back as lists."""
    if _BYTES_KEY in text:
        return json.loads(text, object_hook=_revive)
    return parse_json(text)


def _choose_load() -> Callable[[str], Any]:
    try:
        import orjson
    except ImportError:
        return json.loads

    def load(text: str) -> Any:
        try:
            return orjson.loads(text)
        except ValueError:
            return json.loads(text)

    return load


parse_json: Callable[[str], Any] = _choose_load()
"""Returns what any JSON text says; `ValueError` where it says nothing."""

_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


def clean_value(value: Any) -> Any:
    """Return a column value that every database takes.

    Lone surrogates and NUL characters become U+FFFD, an integer beyond 64 bits becomes None: it is no count of
    anything and no time.
    """
    if isinstance(value, str):
        return _mend(value)
    if isinstance(value, int) and not _LOWEST <= value <= _HIGHEST:
        return None
    return value


def _mend(text: str) -> str:
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
