"""Vocabularies whose merges come in any order: some real ones hold tokens with parts that rank after them."""

from __future__ import annotations

import random
from array import array
from itertools import pairwise

import pytest
import tiktoken

from inferometer.tokens import _native
from inferometer.tokens.vocabularies.carriers import candidate_files, read_file
from inferometer.tokens.vocabularies.compiled import NO_TOKEN, compile_table
from inferometer.tokens.vocabularies.formats import TokenTable, read_table
from inferometer.tokens.vocabularies.patterns import PATTERNS
from inferometer.tokens.vocabularies.registry import describe

BYTES = [bytes([byte]) for byte in range(256)]
Merge = tuple[bytes, bytes]


def merged(text: bytes, rank: dict[Merge, int]) -> list[bytes]:
    """Byte pair merging as it is defined: the lowest pair, of equals the one further left."""
    parts = [bytes([byte]) for byte in text]
    while len(parts) > 1:
        found = [(rank[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in rank]
        if not found:
            break
        at = min(found)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def make_merges(chance: random.Random) -> list[Merge]:
    known = [b"a", b"b", b"c"]
    merges: list[Merge] = []
    for _ in range(chance.randrange(2, 25)):
        left, right = chance.choice(known), chance.choice(known)
        if left + right not in known and len(left + right) <= 12:
            merges.append((left, right))
            known.append(left + right)
    chance.shuffle(merges)
    return merges


def compile_merges(merges: list[Merge], listed: bool) -> _native.Vocabulary:
    """A vocabulary of listed merges, or of ranks alone."""
    tokens = [*BYTES, *(left + right for left, right in merges)]
    place = {token: number for number, token in enumerate(tokens)}
    offsets = array("I", [0])
    for token in tokens:
        offsets.append(offsets[-1] + len(token))
    parents = array("I", [NO_TOKEN, NO_TOKEN] * 256)
    for left, right in merges:
        parents.extend((place[left], place[right]))
    ids = array("I", range(len(tokens)))
    family = _native.FAMILIES["o200k"]
    return _native.Vocabulary(
        _native.compile_vocabulary(
            b"".join(tokens), offsets, ids, parents if listed else None, family, not listed, bytes(32)
        )
    )


@pytest.mark.parametrize("listed", [True, False])
def test_merges_in_any_order_are_followed(listed: bool) -> None:
    for seed in range(300):
        chance = random.Random(seed)
        merges = make_merges(chance)
        tokens = [*BYTES, *(left + right for left, right in merges)]
        place = {token: number for number, token in enumerate(tokens)}
        rank = {merge: number for number, merge in enumerate(merges)}
        if not listed:  # every cut of a token is a pair of its rank, and a whole piece wins
            cuts = ((token[:at], token[at:], token) for token in tokens for at in range(1, len(token)))
            rank = {(left, right): place[token] for left, right, token in cuts if left in place and right in place}
        vocabulary = compile_merges(merges, listed)
        for _ in range(30):
            text = bytes(chance.choices(b"abc", k=chance.randrange(1, 40)))
            whole = [text] if text in place and not listed else merged(text, rank)
            assert vocabulary.encode(text.decode()) == [place[part] for part in whole], (seed, text)


def odd_words(table: TokenTable) -> list[str]:
    """Tokens with a part that ranks after them."""
    place = {token: number for number, token in enumerate(table.tokens)}
    words = []
    for token in table.tokens:
        parts = merged_till_two(token, place)
        if len(parts) == 2 and max(place[part] for part in parts) > place[token]:
            words.append(token.decode("utf-8", "replace"))
    return [word for word in words if "\ufffd" not in word]


def merged_till_two(token: bytes, place: dict[bytes, int]) -> list[bytes]:
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        found = [(place.get(parts[at] + parts[at + 1], NO_TOKEN), at) for at in range(len(parts) - 1)]
        rank, at = min(found)
        if rank == NO_TOKEN:
            break
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


@pytest.mark.parametrize("name", ["llama3", "qwen3.5"])
def test_real_tokens_with_later_parts_equal_reference(name: str) -> None:
    descriptor = describe(name)
    content = next((read_file(path) for path in candidate_files(descriptor)), None)
    if content is None:
        pytest.skip(f"no installed package carries {name}")
    table = read_table(content, name)
    ranks = dict(zip(table.tokens, table.ids, strict=True))
    pattern = PATTERNS[descriptor.family][0]
    reference = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    ours = _native.Vocabulary(compile_table(table, descriptor.family, bytes(32), name))
    odd = odd_words(table)
    assert odd
    chance = random.Random(1)
    others = [word for token in table.tokens if "\ufffd" not in (word := token.decode("utf-8", "replace"))]
    texts = []
    for _ in range(20_000):
        word = chance.choice(odd)
        cut = chance.randrange(len(word) + 1)
        texts.append(chance.choice(others) + word[cut:] + chance.choice(odd))
        texts.append(word[:cut] + word + chance.choice(others))
    for text, expected in zip(texts, reference.encode_ordinary_batch(texts), strict=True):
        assert ours.encode(text) == expected, text
