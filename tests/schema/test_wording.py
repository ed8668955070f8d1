"""Words that agree with their number."""

from __future__ import annotations

import pytest

from inferometer.schema.wording import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (1, ("run",), "1 run"),
        (0, ("run",), "0 runs"),
        (2000, ("model call",), "2,000 model calls"),
        (1.0, ("kind of waste", "kinds of waste"), "1 kind of waste"),
        (3, ("kind of waste", "kinds of waste"), "3 kinds of waste"),
        (2.5, ("call",), "2.5 calls"),
        (0.98, ("call",), "1.0 calls"),
    ],
)
def test_a_noun_agrees_with_its_number(number: float, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text
