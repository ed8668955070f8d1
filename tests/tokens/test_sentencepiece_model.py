"""Sentencepiece models count as their package does, or say what is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from inferometer.schema.errors import InputError, MissingExtraError
from inferometer.tokens.sentencepiece_model import SentencePieceEncoding
from inferometer.tokens.vocabularies.carriers import carrier_file
from inferometer.tokens.vocabularies.registry import Carrier


def test_counts_equal_the_package() -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    path = carrier_file(Carrier("mistral_common", "data/tokenizer.model.v1"))
    if path is None or not path.is_file():
        pytest.skip("no installed package carries a sentencepiece model")
    reference = sentencepiece.SentencePieceProcessor(model_file=str(path))
    ours = SentencePieceEncoding(path)
    for text in ("", "Hello world", "  two  spaces\n", "naïve 中文 😀", "a\x00b"):
        assert ours.encode(text) == reference.encode(text)
        assert ours.count(text.encode()) == len(reference.encode(text))
    assert ours.count_batch(["Hello world", "\ud800"]) == [ours.count("Hello world"), ours.count("\ufffd")]


def test_wrong_file_is_named(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    path = tmp_path / "wrong.model"
    path.write_bytes(b"no model")
    with pytest.raises(InputError, match=r"wrong\.model"):
        SentencePieceEncoding(path)
    with pytest.raises(InputError, match="absent"):
        SentencePieceEncoding(tmp_path / "absent.model")


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(MissingExtraError, match="sentencepiece"):
        SentencePieceEncoding(tmp_path / "a.model")
