"""Claude counts come from the package ctok where it is installed, and are estimates."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from inferometer.schema.errors import UserError
from inferometer.tokens import encoding, encoding_for_model
from inferometer.tokens.claude_model import claude_version


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("claude-3-haiku-20240307", "3.0"),
        ("claude-3-5-sonnet-20241022", "3.5"),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "3.7"),
        ("claude-sonnet-4-20250514", "4.0"),
        ("claude-opus-4-5-20251101", "4.5"),
        ("anthropic/claude-opus-4.7", "4.7"),
        ("claude-opus-4-8", "4.8"),
        ("claude-fable-5", "5.0"),
        ("claude-2.1", None),
        ("claude-instant-1.2", None),
        ("gpt-4o", None),
    ],
)
def test_version_is_read_from_the_models_name(model: str, version: str | None) -> None:
    assert claude_version(model) == version


def test_counts_leave_the_frame_of_the_message_out(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("ctok")
    asked: list[str] = []

    def tokenize(text: str, version: str) -> list[str]:
        asked.append(version)
        return ["⟨pad⟩"] * 7 + text.split()

    package.tokenize = tokenize  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ctok", package)
    chosen = encoding_for_model("claude-opus-4-5-20251101")
    assert chosen.is_estimate
    assert not encoding("o200k_base").is_estimate
    assert chosen.count("one two three") == 3
    assert chosen.count(b"one two") == 2
    assert chosen.count_batch(["one", ""]) == [1, 0]
    assert set(asked) == {"4.5"}


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctok", None)
    with pytest.raises(UserError, match="ctok"):
        encoding_for_model("claude-opus-4-5")


def test_documented_counts_are_those_of_the_package() -> None:
    """The package's own page: `hello, world` is 3 tokens of content in the first family, 4 from 4.8 on."""
    pytest.importorskip("ctok", reason="ctok is not installed (it needs Python 3.12)")
    assert encoding_for_model("claude-opus-4-5").count("hello, world") == 3
    assert encoding_for_model("claude-opus-4-8").count("hello, world") == 4
