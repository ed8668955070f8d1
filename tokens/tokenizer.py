"""Counting and encoding text exactly as the reference tokenizers do."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from hashlib import blake2b, sha256
from pathlib import Path
from typing import Literal, cast

from inferometer.schema.errors import InputError, UnknownNameError
from inferometer.schema.records import PrefixChain
from inferometer.tokens import _native
from inferometer.tokens.claude_model import ClaudeEncoding, claude_version
from inferometer.tokens.key import HashKey, load_key
from inferometer.tokens.models import encoding_name_for_model
from inferometer.tokens.reference import ReferenceVocabulary
from inferometer.tokens.vocabularies.carriers import read_file
from inferometer.tokens.vocabularies.compiled import compile_table, load
from inferometer.tokens.vocabularies.formats import read_table
from inferometer.tokens.vocabularies.registry import describe

Text = str | bytes
Form = Literal["NFC", "NFKC"]

DEFAULT_BLOCK_TOKENS = 64

_NO_VOCABULARY = "none is known; count its text with one that is near, such as --encoding o200k_base"


class Encoding:
    """One vocabulary, ready to count.

    Special tokens in a text are ordinary text. Surrogate pairs in a str count as the character they stand for, lone
    surrogates and bytes that are not UTF-8 as U+FFFD. Methods may be called from several threads; long texts are
    counted and encoded without the GIL, but for `count_remembered`.
    """

    is_estimate = False

    def __init__(
        self, name: str, vocabulary: _native.Vocabulary | ReferenceVocabulary, normalisation: str | None = None
    ) -> None:
        self.name = name
        self._vocabulary = vocabulary
        self._form = cast("Form | None", normalisation)
        if normalisation is None:  # no Python between the caller and the count
            self.count = vocabulary.count  # type: ignore[method-assign]
            self.encode = vocabulary.encode  # type: ignore[method-assign]
            self.count_till_limit = vocabulary.count_till_limit  # type: ignore[method-assign]
            self.count_remembered = vocabulary.count_remembered  # type: ignore[method-assign]

    def __repr__(self) -> str:
        return f"<Encoding {self.name!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return encoding, (self.name,)

    def count(self, text: Text, /) -> int:
        """Return the number of tokens of a text."""
        return self._vocabulary.count(self._normalise(text))

    def count_till_limit(self, text: Text, limit: int, /) -> int | None:
        """Return the number of tokens, or None where there are more than ``limit``; then only a part is looked at."""
        return self._vocabulary.count_till_limit(self._normalise(text), limit)

    def count_remembered(self, text: Text, /) -> int:
        """Return the number of tokens of a text, remembering those of its stretches within a bound of 4 MB.

        For texts that mostly repeat earlier ones, as an agent's prompts do; no text is kept.
        """
        return self._vocabulary.count_remembered(self._normalise(text))

    def count_batch(self, texts: Sequence[Text], threads: int = 1) -> list[int]:
        """Return the number of tokens of each text.

        Args:
            texts: the texts, each counted on its own.
            threads: threads that count; the GIL is free meanwhile.
        """
        if self._form is not None:
            texts = [self._normalise(text) for text in texts]
        return self._vocabulary.count_batch(texts, threads)

    def encode(self, text: Text, /) -> list[int]:
        """Return the token ids of a text."""
        return self._vocabulary.encode(self._normalise(text))

    def block_hashes(
        self, text: Text | Sequence[Text], block: int = DEFAULT_BLOCK_TOKENS, key: HashKey | None = None
    ) -> bytes:
        """Return the prefix block hashes of a text; see `prefix_chain`."""
        return self.prefix_chain(text, block, key)[1].hashes

    def prefix_chain(
        self, text: Text | Sequence[Text], block: int = DEFAULT_BLOCK_TOKENS, key: HashKey | None = None
    ) -> tuple[int, PrefixChain]:
        """Count a text and hash its prefix in one pass.

        Args:
            text: one text, or the messages of a request in order, each encoded on its own.
            block: tokens a block.
            key: the secret; the user's own where None.

        Returns:
            The number of tokens, and the chain: 8 bytes, little endian, for every whole block, each covering all
            tokens before it.
        """
        if block < 1:
            raise ValueError(f"a block holds at least one token, not {block}")
        key = key or load_key()
        texts: Sequence[Text] = [text] if isinstance(text, (str, bytes)) else text
        if self._form is not None:
            texts = [self._normalise(part) for part in texts]
        tokens, hashes, _, _ = self._vocabulary.chain(texts, block, self.chain_secret(block, key))
        return tokens, PrefixChain(hashes, block, self.name, key.key_id)

    def extend_chain(
        self, text: Text, block: int, secret: bytes, parent: int, open_ids: bytes
    ) -> tuple[int, bytes, int, bytes]:
        """Take a chain up where an earlier call left it, or at its beginning with ``0`` and ``b""``.

        Returns:
            Tokens and hashes that the text adds, then the last block's hash and the ids of the open block.
        """
        return self._vocabulary.chain((self._normalise(text),), block, secret, parent, open_ids)

    def chain_secret(self, block: int, key: HashKey) -> bytes:
        """Return the 16 bytes that chains of this vocabulary and block size are hashed under."""
        return _chain_secret(self.name, block, key.secret)

    def _normalise(self, text: Text) -> Text:
        if self._form is None:
            return text
        if not isinstance(text, str):
            text = bytes(text).decode("utf-8", "replace")
        return (
            text
            if text.isascii() or unicodedata.is_normalized(self._form, text)
            else unicodedata.normalize(self._form, text)
        )


@lru_cache(maxsize=256)
def _chain_secret(name: str, block: int, secret: bytes) -> bytes:
    return blake2b(f"{name}\x1f{block}".encode(), digest_size=16, key=secret, person=b"prefix").digest()


@cache
def encoding(name: str) -> Encoding:
    """Return the encoding of a vocabulary, such as ``o200k_base``; it is loaded once a process.

    Raises:
        UnknownNameError: there is no vocabulary of that name.
        UserError: nothing on this machine holds it.
    """
    descriptor = describe(name)
    return Encoding(descriptor.name, load(descriptor), descriptor.normalisation)


def encoding_for_model(model: str) -> Encoding | ClaudeEncoding:
    """Return the encoding that a model uses; for Claude 3 and later, one that estimates.

    Raises:
        UnknownNameError: the model's vocabulary is not known.
        UserError: nothing on this machine holds it.
    """
    name = encoding_name_for_model(model)
    if name is None:
        version = claude_version(model)
        if version is not None:
            return ClaudeEncoding(version)
        raise UnknownNameError("vocabulary of model", model, (), hint=_NO_VOCABULARY)
    return encoding(name)


def encoding_from_file(path: str | Path, family: str | None = None) -> Encoding:
    """Return the encoding of a vocabulary file: ``.tiktoken``, ``tokenizer.json`` or ``tekken.json``.

    Args:
        path: the file.
        family: how text is cut, such as ``llama3``; needed where the file does not say.

    Raises:
        InputError: the file cannot be read or understood, or does not say how text is cut.
        UnknownNameError: there is no such family.
    """
    content = read_file(Path(path))
    table = read_table(content, str(path))
    family = family or table.family
    if family is None:
        raise InputError(str(path), f"does not say how text is cut; name one of {', '.join(_native.FAMILIES)}")
    if family not in _native.FAMILIES:
        raise UnknownNameError("family", family, _native.FAMILIES)
    block = compile_table(table, family, sha256(content).digest(), str(path))
    return Encoding(Path(path).name, _native.Vocabulary(block), table.normalisation)
