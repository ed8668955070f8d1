"""The hash key is made once, kept private, and named without being shown."""

from __future__ import annotations

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from inferometer.schema.errors import InputError
from inferometer.tokens import key as key_module
from inferometer.tokens.key import HashKey, data_directory, load_key


def test_key_is_made_once_and_private() -> None:
    first = load_key()
    path = data_directory() / "hash.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key_module._load_file.cache_clear()
    assert load_key() == first
    assert first.kept
    assert [entry.name for entry in path.parent.iterdir()] == ["hash.key"]


def test_readable_key_file_is_made_private() -> None:
    load_key()
    path = data_directory() / "hash.key"
    path.chmod(0o644)
    key_module._load_file.cache_clear()
    load_key()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_first_uses_at_once_agree() -> None:
    path = data_directory() / "hash.key"
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: key_module._load_file.__wrapped__(path), range(16)))
    assert len(keys) == 1


@pytest.mark.parametrize("encode", [bytes.hex, lambda secret: base64.b64encode(secret).decode()])
def test_variable_wins(encode: object, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = bytes(range(32))
    monkeypatch.setenv("INFEROMETER_HASH_KEY", encode(secret))  # type: ignore[operator]
    assert load_key() == HashKey(secret)
    assert not data_directory().exists()


@pytest.mark.parametrize("text", ["short", "zz" * 32, "00" * 31])
def test_wrong_variable_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFEROMETER_HASH_KEY", text)
    with pytest.raises(InputError, match="INFEROMETER_HASH_KEY"):
        load_key()


def test_key_id_names_the_key_and_hides_it() -> None:
    key = HashKey(bytes(range(32)))
    assert len(key.key_id) == 16
    assert key.key_id != HashKey(bytes(32)).key_id
    assert "secret" not in repr(key)
    assert key.secret.hex() not in repr(key)


def test_unwritable_directory_gives_a_key_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", os.fspath(tmp_path / "file"))
    key = load_key()
    assert not key.kept
    assert load_key() == key
