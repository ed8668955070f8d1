"""Counts and ids equal the reference on every kind of text."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tokens.conftest import ranks, reference_encoding

from inferometer.schema.errors import UnknownNameError
from inferometer.tokens import encoding, encoding_for_model

SENTENCES = [
    "",
    " ",
    "\n",
    "Hello, world! It's 2026; they'RE here, we'Ve gone, I'D go. o'clock 'tis a's's",
    "def f(x):\n    return {\n        'a': 1,\n    }\n\n\n//comment\n;\n/path\n",
    "    \t\n \n\n  x\r\n\r\n y \x0b\x0c z  \n",
    "12345678901 3.14159 ½ Ⅳ ٣٤٥٦ 1a2b3c",
    "camelCaseHTMLParser XMLHttpRequest ABCdef dŽabc ǅungla",
    "中文字符和English混排,こんにちは世界、한국어 텍스트. Привет мир! مرحبا بالعالم עולם שלום",
    "e\u0301a\u0300 !\u0301 !!\u0301 \u0301\u0301x \u0301A 'ſ 'ſx it'ſ don’t",
    "👩‍👩‍👧‍👦 🏳️‍🌈 👍🏽 🇩🇪",
    "<|endoftext|> <|im_start|> <|fim_prefix|>",
    "a\x00b\x1cc\x1dd\x85e\xa0f\u200bg\u2028h\u3000i",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" * 5,
    "!?" * 300,
    " " * 500 + "x" + "\n" * 300 + "\t" * 100,
    "trailing space \n  ",
    "\U0010ffff\U000e0001\ue000",
]


@pytest.mark.parametrize("text", SENTENCES)
def test_ids_equal_reference_on_chosen_texts(text: str, encoding_name: str, reference: tiktoken.Encoding) -> None:
    ours = encoding(encoding_name)
    expected = reference.encode_ordinary(text)
    assert ours.encode(text) == expected
    assert ours.count(text) == len(expected)


def test_every_code_point_in_six_contexts(encoding_name: str, reference: tiktoken.Encoding) -> None:
    """Joined to long texts, since the reference is slow to call; a line break and a letter keep them apart."""
    ours = encoding(encoding_name)
    contexts = ("x{0}", "xa{0}b", "x {0} ", "xA{0}\r", "x!{0}'s", "x1{0}{0}")
    for start in range(0, sys.maxunicode + 1, 0x8000):
        characters = [chr(c) for c in range(start, start + 0x8000) if not 0xD800 <= c < 0xE000]
        for context in contexts:
            text = "\n".join(map(context.format, characters))
            assert ours.encode(text) == reference.encode_ordinary(text), (hex(start), context)


def test_characters_of_several_bytes_merge_as_in_reference(encoding_name: str, reference: tiktoken.Encoding) -> None:
    """What tokens spell in one script, joined: merges across characters are asked for, those inside them are not."""
    ours = encoding(encoding_name)
    chance = random.Random(3)
    spelled = [token.decode("utf-8", "replace") for token in ranks(encoding_name)]
    for low, high in (("\u0400", "\u052f"), ("\u0900", "\u0e7f"), ("\u3040", "\u9fff"), ("\uac00", "\ud7a3")):
        words = [word for word in spelled if word and all(low <= character <= high for character in word)]
        texts = ["".join(chance.choices(words, k=6)) for _ in range(4000)]
        for text, expected in zip(texts, reference.encode_ordinary_batch(texts), strict=True):
            assert ours.encode(text) == expected


ALPHABET = list("aAbZsStTdDmMlLvVrReE'’ \t\n\r/.,!?-_019éßſǅʰ中あ한א\u0301\u200d\u00a0\u2028😀½\x00")


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), st.text(alphabet=ALPHABET, max_size=60)))
def test_ids_equal_reference_on_random_text(text: str) -> None:
    for name in ("o200k_base", "cl100k_base"):
        assert encoding(name).encode(text) == reference_encoding(name).encode_ordinary(text)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_read_as_replaced_utf8(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert encoding("o200k_base").encode(data) == reference_encoding("o200k_base").encode_ordinary(text)


@pytest.mark.parametrize("text", ["\ud800", "a\udc00b", "\ud83d\ude00", "x\ud83d", "\ude00\ud83dx", "é\ud83d\ude00中"])
def test_surrogates_count_as_reference_repairs_them(
    text: str, encoding_name: str, reference: tiktoken.Encoding
) -> None:
    assert encoding(encoding_name).encode(text) == reference.encode_ordinary(text)


@pytest.mark.slow
def test_all_text_of_the_recorded_data_is_encoded_as_the_reference_does(
    shared: Path, encoding_name: str, reference: tiktoken.Encoding
) -> None:
    ours = encoding(encoding_name)
    suffixes = {".json", ".jsonl", ".md", ".yaml", ".csv", ".txt", ".traj"}
    paths = [path for path in sorted(shared.rglob("*")) if path.suffix in suffixes and path.is_file()]
    assert len(paths) > 100
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace")
        expected = reference.encode_ordinary(text)
        assert ours.encode(text) == expected, path
        assert ours.count(text) == len(expected), path


def test_recorded_prompts_count_as_reference(shared: Path, encoding_name: str, reference: tiktoken.Encoding) -> None:
    texts = []
    for path in sorted((shared / "data" / "sessions").glob("lmcache-*/*"))[:6]:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[:12]
        texts += [json.loads(line)["input"] for line in lines]
    expected = [len(ids) for ids in reference.encode_ordinary_batch(texts, num_threads=1)]
    ours = encoding(encoding_name)
    assert ours.count_batch(texts, threads=2) == expected
    assert [ours.count_remembered(text) for text in texts] == expected


def test_unknown_encoding_names_nearest() -> None:
    with pytest.raises(UnknownNameError, match="o200k_base"):
        encoding("o200k")


def test_unknown_model_is_an_error() -> None:
    with pytest.raises(UnknownNameError, match=r"'no-such-model'; none is known; count its text .*--encoding"):
        encoding_for_model("no-such-model")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("openai/gpt-5-mini", "o200k_base"),
        ("o1", "o200k_base"),
        ("o3-mini", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("gpt-oss-120b", "o200k_harmony"),
    ],
)
def test_model_names_find_their_vocabulary(model: str, name: str) -> None:
    assert encoding_for_model(model).name == name


@pytest.mark.parametrize("wrong", [None, 3, ["a"]])
def test_wrong_type_is_a_type_error(wrong: object) -> None:
    with pytest.raises(TypeError):
        encoding("o200k_base").count(wrong)  # type: ignore[arg-type]
