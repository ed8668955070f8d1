"""Counting for Claude 3 and later, whose vocabulary is not public, through the package ``ctok``: always an estimate.

``ctok`` reconstructs counts from measured ones (its own tables: 962,053 of 962,054 rows exact for the first family);
it needs Python 3.12 and counts some tens of kilobytes a second, so ingest does not use it unasked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from inferometer.schema.errors import UserError

Text = str | bytes

_FRAME = "⟨pad⟩"
"""How ``ctok`` writes the tokens of the one message that it frames a text with."""

_MODEL = re.compile(r"claude-(?:[a-z]+-)?(?P<major>\d)(?:[.-](?P<minor>\d)(?!\d))?(?=$|[-@:.])")


def claude_version(model: str) -> str | None:
    """Return a model's version, such as ``4.5``; None for what is not Claude 3 or later.

    Args:
        model: a name such as ``claude-opus-4-5-20251101`` or ``us.anthropic.claude-3-5-sonnet-20241022-v2:0``.
    """
    found = _MODEL.search(model.lower())
    if found is None or int(found["major"]) < 3:
        return None
    return f"{found['major']}.{found['minor'] or 0}"


class ClaudeEncoding:
    """Counts as a Claude model does, as far as is known; with the counting methods of `Encoding` and no ids."""

    is_estimate = True

    def __init__(self, version: str) -> None:
        """Find the package.

        Raises:
            UserError: ``ctok`` is not installed, or does not know the version.
        """
        self.name = f"claude-{version}"
        self._version = version
        try:
            self._ctok: Any = import_module("ctok")
            self.count("")
        except ModuleNotFoundError:
            raise UserError(
                f"counting for {self.name} needs the package 'ctok' (Python 3.12): pip install ctok"
            ) from None
        except NotImplementedError as error:
            raise UserError(f"counting for {self.name}: {error}") from None

    def count(self, text: Text, /) -> int:
        """Return the estimated number of tokens of a text, without the frame of a message."""
        if not isinstance(text, str):
            text = bytes(text).decode("utf-8", "replace")
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return sum(token != _FRAME for token in self._ctok.tokenize(text, self._version))

    def count_batch(self, texts: Sequence[Text], threads: int = 1) -> list[int]:
        """Return the estimated number of tokens of each text."""
        return [self.count(text) for text in texts]
