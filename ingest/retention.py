"""What of a span's attributes stays: no content, bounded in number, size and depth.

Numbers and truth values always may stay. Text stays where a dialect knows its key and the key holds no content; under
any other key it stays while it looks like a name (short, few words) and the key does not sound like content.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

from inferometer.ingest.dialects.dialect import Dialect

MAX_ATTRIBUTES = 128
MAX_TEXT = 1024
MAX_CONTENT = 1024 * 1024
MAX_UNKNOWN_TEXT = 128
MAX_WORDS = 4
MAX_ITEMS = 32
MAX_NAME = 256

_SAFE_PREFIXES = (
    "service.",
    "deployment.",
    "k8s.",
    "cloud.",
    "http.request.resend",
    "http.response.status",
    "rpc.",
    "request_id",
)
_CONTENT_WORDS = frozenset(
    [
        "input",
        "inputs",
        "output",
        "outputs",
        "prompt",
        "prompts",
        "completion",
        "completions",
        "content",
        "contents",
        "message",
        "messages",
        "text",
        "texts",
        "query",
        "question",
        "answer",
        "arguments",
        "args",
        "parameters",
        "params",
        "result",
        "results",
        "response",
        "responses",
        "request",
        "document",
        "documents",
        "body",
        "description",
        "instructions",
        "instruction",
        "value",
        "values",
        "thinking",
        "reasoning",
        "title",
        "summary",
        "explanation",
        "comment",
        "statement",
        "stacktrace",
        "traceback",
        "transcript",
        "chat",
        "history",
        "command",
        "cmd",
        "code",
        "diff",
        "path",
        "file",
        "filename",
        "url",
        "uri",
        "email",
        "phone",
        "address",
        "name_full",
        "password",
        "secret",
        "token",
        "key",
        "authorization",
        "cookie",
        "state",
        "data",
        "payload",
        "metadata",
        "preview",
        "snippet",
        "context",
    ]
)
_KEEP, _DROP, _JUDGE, _PRIVATE = 0, 1, 2, 3
_PERSONS = ("user.", "enduser.", "client.address", "net.peer.ip")
"""Beginnings of keys that name a person: of them a span keeps a pseudonym alone."""

_PERSON_WORDS = frozenset({"user_id", "userid", "user_name", "username", "user_email", "useremail", "email"})
"""Last words of keys that do."""

Verdict = tuple[int, str]
"""What becomes of a key's values, and the name under which they stay."""

_VERDICTS: dict[str, dict[str, Verdict]] = {}
_VERDICTS_REMEMBERED = 8192
_NUMBERS = frozenset({int, float, bool})


def retain(attributes: Mapping[str, Any], dialect: Dialect | None, keep_content: bool) -> tuple[dict[str, Any], int]:
    """Return the attributes that stay and the number of those that were cut or left out for their size.

    Args:
        attributes: as the emitter wrote them.
        dialect: the one that reads them, if any.
        keep_content: whether what people and models said may stay.
    """
    if keep_content:
        return _retain_all(attributes, dialect)
    return retain_values(attributes.values(), verdicts_of(attributes, dialect))


def verdicts_of(keys: Iterable[str], dialect: Dialect | None) -> tuple[Verdict, ...]:
    """Return what becomes of the values of each key, for `retain_values`."""
    known = _VERDICTS.setdefault(dialect.name if dialect is not None else "", {})
    return tuple([known.get(key) or _judge(key, dialect, known) for key in keys])


def retain_values(values: Iterable[Any], verdicts: Iterable[Verdict]) -> tuple[dict[str, Any], int]:
    """Return what `retain` does without content, from the values of attributes and the verdicts on their keys."""
    kept: dict[str, Any] = {}
    cut = 0
    for value, (verdict, name) in zip(values, verdicts, strict=True):
        kind = type(value)
        if kind is str:
            # `is_name` and `clean` in place: nearly every value of nearly every span comes by here
            if verdict != _KEEP and (
                verdict != _JUDGE or len(value) > MAX_UNKNOWN_TEXT or value.count(" ") >= MAX_WORDS or "\n" in value
            ):
                continue
            kept[name] = (
                value if len(value) <= MAX_TEXT and value.isascii() and "\0" not in value else clean(value, MAX_TEXT)
            )
        elif kind in _NUMBERS:
            if verdict != _PRIVATE:
                kept[name] = value if kind is int and -(2**63) <= value < 2**63 else _number(value)
        elif verdict == _KEEP or (verdict == _JUDGE and is_name(value)):
            plain = _plain(value)
            if plain is not None:
                kept[name] = plain
            else:
                cut += value is not None
    if len(kept) > MAX_ATTRIBUTES:
        cut += len(kept) - MAX_ATTRIBUTES
        kept = dict(islice(kept.items(), MAX_ATTRIBUTES))
    return kept, cut


def _retain_all(attributes: Mapping[str, Any], dialect: Dialect | None) -> tuple[dict[str, Any], int]:
    """Return what was said, and not who said it: a person stays a pseudonym however much content is kept."""
    verdicts = verdicts_of(attributes, dialect)
    kept = [
        (name, value)
        for value, (verdict, name) in zip(attributes.values(), verdicts, strict=True)
        if verdict != _PRIVATE
    ]
    bounded = {name: _bounded(value, MAX_CONTENT, 0) for name, value in kept[:MAX_ATTRIBUTES]}
    return bounded, max(0, len(kept) - MAX_ATTRIBUTES)


def clean(text: str, limit: int) -> str:
    """Return text that every database takes: no NUL, no lone surrogate, at most ``limit`` characters."""
    if len(text) > limit:
        text = text[:limit]
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _judge(key: str, dialect: Dialect | None, verdicts: dict[str, Verdict]) -> Verdict:
    """Return what becomes of a key and the name under which it stays."""
    fields = dialect.by_key.get(key, ()) if dialect is not None else ()
    last = key.lower().rpartition(".")[2].replace("-", "_")
    if key.startswith(_PERSONS) or last in _PERSON_WORDS or any(field == "user_id" for field, _ in fields):
        verdict = _PRIVATE
    elif dialect is not None and any(_matches(key, pattern) for pattern in dialect.content):
        verdict = _DROP
    elif (dialect is not None and key in dialect.by_key) or key.startswith(_SAFE_PREFIXES):
        verdict = _KEEP
    else:
        words = key.lower().replace("-", "_").replace("_", ".").split(".")
        verdict = _DROP if _CONTENT_WORDS.intersection(words) else _JUDGE
    if len(verdicts) >= _VERDICTS_REMEMBERED:  # keys come from outside: what is remembered must stay bounded
        verdicts.clear()
    verdicts[key] = known = (verdict, clean(key, MAX_NAME))
    return known


def _matches(key: str, pattern: str) -> bool:
    return key.startswith(pattern[:-1]) if pattern.endswith("*") else key == pattern


def is_name(value: Any) -> bool:
    """Return whether a value looks like a name, a number or a list of them, and not like something said."""
    if isinstance(value, str):
        return len(value) <= MAX_UNKNOWN_TEXT and "\n" not in value and value.count(" ") < MAX_WORDS
    if isinstance(value, (list, tuple)):
        return all(is_name(item) for item in value[:MAX_ITEMS])
    return isinstance(value, (int, float, bool))


def _plain(value: Any) -> Any:
    """Return a scalar or a list of scalars, bounded; None for anything deeper."""
    if isinstance(value, str):
        return clean(value, MAX_TEXT)
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, (list, tuple)):
        items = [_plain(item) for item in value[:MAX_ITEMS] if not isinstance(item, (list, tuple, dict))]
        return [item for item in items if item is not None]
    return None


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None  # NaN and infinities are not JSON
    return value if -(2**63) <= value < 2**63 else None


def _bounded(value: Any, limit: int, depth: int) -> Any:
    if isinstance(value, str):
        return clean(value, limit)
    if isinstance(value, (int, float)):
        return _number(value)
    if depth >= 8:
        return None
    if isinstance(value, (list, tuple)):
        return [_bounded(item, limit, depth + 1) for item in value]
    if isinstance(value, dict):
        return {clean(str(key), MAX_NAME): _bounded(item, limit, depth + 1) for key, item in value.items()}
    return None
