"""What no TOML file of a user's may do: end a command with anything but one line that names the file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from inferometer.profiles.toml import read_toml
from inferometer.schema.errors import ProfileError


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"a = ", "is not TOML"),
        (b"a = '\xe9'", "is not TOML"),
        (b"\x00" * 8, "is not TOML"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"{b = " * 20_000, "nested too deeply"),
        (b"a = " + b"9" * 5_000, "is not TOML"),
    ],
    ids=["cut", "latin-1", "binary", "arrays", "tables", "digits"],
)
def test_what_is_no_toml_is_refused_in_one_line(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(content)
    with pytest.raises(ProfileError, match=complaint) as caught:
        read_toml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"none.toml: cannot be read: no such file"):
        read_toml(tmp_path / "none.toml")
    with pytest.raises(ProfileError, match="cannot be read: is a directory"):
        read_toml(tmp_path)


def test_money_is_read_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("a = 0.1\nb = 3\n")
    assert read_toml(path, parse_float=Decimal) == {"a": Decimal("0.1"), "b": 3}
