"""Counting text while it comes."""

from __future__ import annotations

from codecs import getincrementaldecoder

from inferometer.tokens import _native
from inferometer.tokens.tokenizer import Encoding, Text

_CUT_FROM = 512


class TokenStream:
    """Counts what has been appended so far as if it had come at once.

    Counting is not additive, so the end of the text stays open; what lies before a place where it may be cut is counted
    once and dropped.

    Args:
        encoding: how text is counted.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._settled_tokens = 0
        self._open = ""
        self._cut_from = _CUT_FROM
        self._decoder = getincrementaldecoder("utf-8")("replace")

    def append(self, text: Text) -> None:
        """Take what came next; bytes may end within a character."""
        self._open += text if isinstance(text, str) else self._decoder.decode(text)
        if len(self._open) < self._cut_from:
            return
        cut = _native.last_safe_cut(self._open)
        self._settled_tokens += self._encoding.count(self._open[:cut])
        self._open = self._open[cut:]
        # text without a place to cut is looked at again only when it has doubled
        self._cut_from = max(_CUT_FROM, 2 * len(self._open))

    def close(self) -> None:
        """Take the text as ended: a character that has only begun is one that is not UTF-8."""
        self._open += self._decoder.decode(b"", final=True)

    @property
    def tokens(self) -> int:
        """Tokens of all that was appended; a character that has only begun is not counted yet."""
        return self._settled_tokens + self._encoding.count(self._open)
