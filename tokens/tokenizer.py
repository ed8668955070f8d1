"""Counting and encoding text exactly as the reference tokenizers do."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from inferometer.schema.errors import UnknownNameError
from inferometer.schema.records import PrefixChain
from inferometer.tokens import _native
from inferometer.tokens.key import HashKey, load_key
from inferometer.tokens.models import encoding_name_for_model
from inferometer.tokens.vocabularies.compiled import load
from inferometer.tokens.vocabularies.registry import Descriptor, describe

Text = str | bytes

DEFAULT_BLOCK_TOKENS = 64


class Encoding:
    """One vocabulary, ready to count.

    Special tokens in a text are ordinary text. Surrogate pairs in a str count as the character they stand for, lone
    surrogates and bytes that are not UTF-8 as U+FFFD.
    """

    def __init__(self, descriptor: Descriptor, vocabulary: _native.Vocabulary) -> None:
        self._descriptor = descriptor
        self._vocabulary = vocabulary
        self.count = vocabulary.count
        self.count_batch = vocabulary.count_batch
        self.encode = vocabulary.encode

    def __repr__(self) -> str:
        return f"<Encoding {self.name!r}>"

    def __reduce__(self) -> tuple[object, ...]:
        return encoding, (self.name,)

    @property
    def name(self) -> str:
        """The vocabulary's name."""
        return self._descriptor.name

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
        texts = (text,) if isinstance(text, (str, bytes)) else text
        secret = key.digest(f"{self.name}\x1f{block}".encode(), b"prefix", 16)
        tokens, hashes = self._vocabulary.chain(texts, block, secret)
        return tokens, PrefixChain(hashes, block, self.name, key.key_id)


@cache
def encoding(name: str) -> Encoding:
    """Return the encoding of a vocabulary, such as ``o200k_base``; it is loaded once a process.

    Raises:
        UnknownNameError: there is no vocabulary of that name.
        UserError: no installed package carries it.
    """
    descriptor = describe(name)
    return Encoding(descriptor, load(descriptor))


def encoding_for_model(model: str) -> Encoding:
    """Return the encoding that a model uses.

    Raises:
        UnknownNameError: the model's vocabulary is not known.
    """
    name = encoding_name_for_model(model)
    if name is None:
        raise UnknownNameError("vocabulary of model", model, ())
    return encoding(name)
