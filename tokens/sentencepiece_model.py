"""Counting with a sentencepiece model (Llama 2, Gemma, Mistral up to v3) through the package ``sentencepiece``.

These merge characters, not bytes, and rewrite spaces: another engine, which that package is the reference of.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from inferometer.schema.errors import InputError, MissingExtraError

Text = str | bytes


class SentencePieceEncoding:
    """A sentencepiece model with the counting methods of `Encoding`; it has no prefix chains."""

    def __init__(self, path: str | Path) -> None:
        """Load a ``.model`` file.

        Raises:
            MissingExtraError: the package ``sentencepiece`` is not installed.
            InputError: the file cannot be read or is no such model.
        """
        self.name = Path(path).name
        try:
            processor = import_module("sentencepiece").SentencePieceProcessor
        except ModuleNotFoundError:
            raise MissingExtraError(f"the model {self.name}", "vocabularies", "sentencepiece") from None
        self._processor: Any = processor()
        try:
            self._processor.LoadFromSerializedProto(Path(path).read_bytes())
        except OSError as error:
            raise InputError(str(path), error.strerror or str(error)) from None
        except RuntimeError:
            raise InputError(str(path), "not a sentencepiece model") from None

    def encode(self, text: Text, /) -> list[int]:
        """Return the token ids; without those that begin and end a sequence."""
        return list(map(int, self._processor.EncodeAsIds(_as_str(text))))

    def count(self, text: Text, /) -> int:
        """Return the number of tokens."""
        return len(self.encode(text))

    def count_batch(self, texts: Sequence[Text], threads: int = 1) -> list[int]:
        """Return the number of tokens of each text."""
        return [self.count(text) for text in texts]


def _as_str(text: Text) -> str:
    if isinstance(text, str):
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return bytes(text).decode("utf-8", "replace")
