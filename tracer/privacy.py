"""What of a call's content is kept: nothing, unless it is asked for."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from inferometer.schema.attributes import ATTRIBUTES_CUT, USER_HASH, USER_ID
from inferometer.schema.errors import UnknownNameError, UserError
from inferometer.tracer.guard import report

CONTENT_SWITCH = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CONTENT_BYTES = 65_536
"""Most bytes kept of one content attribute."""

Redact = Callable[[str, str], str | None]
"""(attribute name, text) -> the text to keep, or None to keep nothing."""


class Capture(StrEnum):
    """How much a span may tell about a call."""

    NONE = "none"
    """Names, times, tokens, status."""
    METADATA = "metadata"
    """Also request parameters, tool fingerprints, context composition and prefix hashes: nothing that can be read."""
    CONTENT = "content"
    """Also messages, arguments and results."""

    @classmethod
    def parse(cls, value: str | None) -> Capture:
        """Return the level named, or the environment's where None is given."""
        if value is None:
            switch = os.environ.get(CONTENT_SWITCH, "").strip().lower()
            return cls.CONTENT if switch in {"true", "1", "span_only", "span_and_event"} else cls.METADATA
        if value not in set(cls):
            raise UnknownNameError("capture level", str(value), [str(level) for level in cls])
        return cls(value)


class Privacy:
    """The rules in force.

    Args:
        capture: how much is kept; None asks the environment.
        redact: called with the name and text of each content attribute, on the export thread where that is possible.
        content_bytes: most bytes kept of one content attribute, at least 16.
        plain_users: keep user ids as they are; they are hashed otherwise.
    """

    def __init__(
        self,
        capture: str | None = None,
        redact: Redact | None = None,
        content_bytes: int = CONTENT_BYTES,
        plain_users: bool = False,
    ) -> None:
        if redact is not None and not callable(redact):
            raise UserError(f"redact must be a function of (name, text), not {type(redact).__name__}")
        if content_bytes < 16:
            raise UserError(f"content_bytes must be at least 16, not {content_bytes}")
        self.capture = Capture.parse(capture)
        self.keeps_content = self.capture is Capture.CONTENT
        self.keeps_metadata = self.capture is not Capture.NONE
        self.redact = redact
        self.content_bytes = content_bytes
        self.plain_users = plain_users

    def user(self, user_id: str) -> dict[str, str]:
        """Return the attribute that names a user as spans may show it: the id where asked for, else its pseudonym."""
        if self.plain_users:
            return {USER_ID: user_id}
        from inferometer.tokens.key import load_key

        return {USER_HASH: load_key().pseudonym(user_id)}

    def write(self, attributes: dict[str, Any], name: str, content: Any) -> None:
        """Add a content attribute as JSON (a string stays as it is), redacted and cut; a failing hook keeps nothing."""
        if content is None or not self.keeps_content:
            return
        text = content if isinstance(content, str) else to_json(content)
        if self.redact is not None:
            try:
                redacted = self.redact(name, text)
            except Exception as error:
                report("redaction hook", error)
                return
            if redacted is None:
                return
            text = str(redacted)
        encoded = text.encode("utf-8", "replace")
        if len(encoded) > self.content_bytes:
            text = encoded[: self.content_bytes].decode("utf-8", "ignore")
            attributes[ATTRIBUTES_CUT] = attributes.get(ATTRIBUTES_CUT, 0) + 1
        attributes[name] = text


def to_json(value: Any) -> str:
    """Return JSON of whatever a program passes around; what has no JSON becomes its dump or its type's name."""
    try:
        return json.dumps(value, default=_plain, ensure_ascii=False)
    except Exception:  # whatever an object of the program's does when it is looked at
        return json.dumps(f"<{type(value).__name__}>")


def _plain(value: Any) -> Any:
    for method in ("model_dump", "to_dict", "dict"):
        dump = getattr(value, method, None)
        if callable(dump) and not isinstance(value, type):
            try:
                return dump()
            except Exception:
                continue
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    fields = getattr(value, "__dict__", None)
    if fields and not callable(value):
        return {key: item for key, item in fields.items() if not key.startswith("_")}
    return f"<{type(value).__name__}>"
