"""Memo, history and stream give what counting everything anew gives."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferometer.tokens import HashKey, History, TokenStream, encoding

KEY = HashKey(bytes(range(32)))
WORDS = (
    "the",
    "Quick",
    "brown",
    "fox's",
    "日本語。",
    "\n\n",
    "  ",
    "naïve",
    "{'a':",
    "12345",
    "don't\n",
    "x\n",
    "😀",
    "\t",
)


def text_of(seed: int, words: int) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice(WORDS) + chance.choice(("", " ", "\n")) for _ in range(words))


@pytest.mark.parametrize("name", ["o200k_base", "cl100k_base"])
@pytest.mark.parametrize("words", [0, 1, 300, 3000])
def test_growing_text_is_counted_as_anew(name: str, words: int) -> None:
    ours = encoding(name)
    text = ""
    for seed in range(6):
        text += text_of(seed, words)
        assert ours.count_remembered(text) == ours.count(text)
        assert ours.count_remembered(text) == ours.count(text)


def test_ascii_text_is_remembered_by_its_beginning() -> None:
    ours = encoding("o200k_base")
    text = "One sentence follows another here, as they do in prose. " * 2000
    for end in range(len(text) - 40, len(text)):
        assert ours.count_remembered(text[:end]) == ours.count(text[:end])


def test_history_gives_the_chain_of_the_whole_request() -> None:
    ours = encoding("o200k_base")
    for block in (1, 16, 63, 64):
        history = History(ours, block, KEY)
        messages: list[str] = []
        for seed in range(12):
            messages.append(text_of(seed, 50))
            assert history.prefix_chain(messages) == ours.prefix_chain(messages, block, KEY)
            assert history.count(messages) == sum(map(ours.count, messages))
        branch = [*messages[:5], "another way"]
        assert history.prefix_chain(branch) == ours.prefix_chain(branch, block, KEY)


def test_history_forgets_within_its_bound() -> None:
    history = History(encoding("o200k_base"), 64, KEY, capacity_bytes=5000)
    messages = [text_of(seed, 100) for seed in range(40)]
    expected = encoding("o200k_base").prefix_chain(messages, 64, KEY)
    assert history.prefix_chain(messages) == expected
    assert history._bytes <= 5000
    assert history.prefix_chain(messages) == expected


def test_history_keeps_no_text() -> None:
    history = History(encoding("o200k_base"), 64, KEY)
    history.prefix_chain(["a confession that nobody should find again"])
    assert "confession" not in repr(vars(history))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_stream_counts_as_the_whole_text_does(text: str, cuts: list[int]) -> None:
    ours = encoding("cl100k_base")
    stream = TokenStream(ours)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in pairwise(places):
        stream.append(text[start:end])
        assert stream.tokens == ours.count(text[:end])


def test_long_stream_is_settled_on_the_way() -> None:
    ours = encoding("o200k_base")
    text = text_of(1, 4000)
    stream = TokenStream(ours)
    for start in range(0, len(text), 7):
        stream.append(text[start : start + 7])
    assert stream.tokens == ours.count(text)
    assert len(stream._open) < 2000


def test_stream_takes_bytes_that_end_within_a_character() -> None:
    text = text_of(2, 300)
    data = text.encode()
    stream = TokenStream(encoding("o200k_base"))
    for start in range(0, len(data), 5):
        stream.append(data[start : start + 5])
    assert stream.tokens == encoding("o200k_base").count(text)
