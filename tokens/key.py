"""The secret under which prefixes and arguments are hashed: it never enters a database, a span or an export."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import secrets
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from inferometer.schema.errors import InputError

KEY_BYTES = 32
PSEUDONYM_BYTES = 8
VARIABLE = "INFEROMETER_HASH_KEY"


@dataclass(frozen=True, slots=True)
class HashKey:
    """A secret of 32 bytes and the public name of it.

    Hashes of different ``key_id`` are never compared. ``kept`` is False where the key lives only in this process,
    because the user's data directory cannot be written.
    """

    secret: bytes = field(repr=False)
    kept: bool = True

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise ValueError(f"a hash key has {KEY_BYTES} bytes, not {len(self.secret)}")

    @property
    def key_id(self) -> str:
        """Sixteen hex digits that name the key and do not give it away."""
        return _key_id(self.secret)

    def digest(self, message: bytes, purpose: bytes, size: int) -> bytes:
        """Return the keyed BLAKE2b of a message; ``purpose`` (at most 16 bytes) keeps uses apart."""
        return blake2b(message, digest_size=size, key=self.secret, person=purpose).digest()

    def pseudonym(self, user_id: str) -> str:
        """Return the 16 hex digits that stand for a user, the same wherever the user is met under this key."""
        return self.digest(user_id.encode("utf-8", "replace"), b"user", PSEUDONYM_BYTES).hex()


@lru_cache(maxsize=16)
def _key_id(secret: bytes) -> str:
    return blake2b(digest_size=8, key=secret, person=b"key id").hexdigest()


def load_key() -> HashKey:
    """Return the key of INFEROMETER_HASH_KEY, else of the 0600 file in the user's data directory, made on first use.

    Raises:
        InputError: the variable or the file holds something that is no key.
    """
    text = os.environ.get(VARIABLE)
    if text:
        return HashKey(_parse(text, VARIABLE))
    return _load_file(_key_file(os.environ.get("XDG_DATA_HOME"), os.environ.get("HOME")))


@lru_cache(maxsize=4)
def _key_file(*_: str | None) -> Path:
    # asked for with every call that is hashed: the same environment is looked at once
    return data_directory() / "hash.key"


def data_directory() -> Path:
    """Return Inferometer's folder in the user's data directory (XDG base directory specification)."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "inferometer"


@lru_cache(maxsize=4)
def _load_file(path: Path) -> HashKey:
    with contextlib.suppress(OSError):
        return _read_file(path)
    text = secrets.token_hex(KEY_BYTES)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text + "\n")
        # a link is made whole or not at all, so of two processes that come first together one key wins
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        return _read_file(path)
    except OSError:
        return HashKey(bytes.fromhex(text), kept=False)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _read_file(path: Path) -> HashKey:
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.stat().st_mode & 0o077:
        with contextlib.suppress(OSError):
            path.chmod(0o600)
    return HashKey(_parse(text, str(path)))


def _parse(text: str, where: str) -> bytes:
    text = text.strip()
    with contextlib.suppress(ValueError):
        secret = bytes.fromhex(text)
        if len(secret) == KEY_BYTES:
            return secret
    with contextlib.suppress(binascii.Error, ValueError):
        secret = base64.b64decode(text, validate=True)
        if len(secret) == KEY_BYTES:
            return secret
    raise InputError(where, f"a hash key is {KEY_BYTES} bytes as {2 * KEY_BYTES} hex digits or base64")
