"""The plain Python reference and the C extension agree, family by family."""

from __future__ import annotations

import random
import struct
from functools import lru_cache

import pytest
from tests.tokens.conftest import ranks

from inferometer.tokens import _native
from inferometer.tokens.reference import ReferenceVocabulary, siphash
from inferometer.tokens.vocabularies.compiled import compile_table
from inferometer.tokens.vocabularies.formats import TokenTable
from inferometer.tokens.vocabularies.patterns import PATTERNS

ALPHABET = "aAbBsStTdDmMlLvVrReE'ſ \t\n\r/.,!-_019½éßʰ中あ〇々한א\u0301\u0903\u200d\u2028\u00a0😀\x00\x1c()"


@lru_cache(maxsize=1)
def small_table() -> TokenTable:
    """The first 20,000 tokens of cl100k_base: enough to merge, quick to compile."""
    first = sorted(ranks("cl100k_base").items(), key=lambda item: item[1])[:20_000]
    return TokenTable([token for token, _ in first], [rank for _, rank in first])


@pytest.mark.parametrize("family", list(PATTERNS))
def test_reference_and_extension_agree(family: str) -> None:
    table = small_table()
    plain = ReferenceVocabulary(table, family)
    native = _native.Vocabulary(compile_table(table, family, bytes(32), family))
    chance = random.Random(family)
    for _ in range(800):
        text = "".join(chance.choices(ALPHABET, k=chance.randrange(50)))
        assert native.encode(text) == plain.encode(text), text
        assert native.count(text) == plain.count(text)


def test_chain_agrees_and_goes_on() -> None:
    table = small_table()
    plain, native = (
        ReferenceVocabulary(table, "o200k"),
        _native.Vocabulary(compile_table(table, "o200k", bytes(32), "")),
    )
    key = bytes(range(16))
    texts = ["The quick brown fox. " * 9, "", "jumps over", "中文 " * 40]
    for block in (1, 2, 5, 64):
        expected = plain.chain(texts, block, key)
        assert native.chain(texts, block, key) == expected
        tokens, hashes, parent, open_ids = native.chain(texts[:2], block, key)
        more, further, parent, open_ids = native.chain(texts[2:], block, key, parent, open_ids)
        assert (tokens + more, hashes + further, parent, open_ids) == expected
        assert struct.calcsize("I") == 4


def test_siphash_is_the_published_vector() -> None:
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5


def test_variable_puts_the_reference_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    from inferometer.tokens import encoding

    monkeypatch.setenv("INFEROMETER_PURE", "1")
    plain = encoding.__wrapped__("cl100k_base")
    assert isinstance(plain._vocabulary, ReferenceVocabulary)
    text = "Hello world, it's plain Python.\n\n  "
    assert plain.encode(text) == encoding("cl100k_base").encode(text)
