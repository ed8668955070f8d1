"""Users by a pseudonym: one person's runs are found together, and who it is cannot be read back."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from inferometer.tokens.key import VARIABLE, HashKey, load_key

PSEUDONYM_BYTES = 8


def hashed_user(user_id: Any, key: HashKey) -> str | None:
    """Return a user's pseudonym, 16 hex digits under a key; None for no user."""
    if user_id is None or user_id == "":
        return None
    return _pseudonym(str(user_id), key)


def current_key() -> HashKey:
    """Return the key of this environment, looked up again only where the environment changed."""
    get = os.environ.get
    return _key_of(get(VARIABLE), get("XDG_DATA_HOME"), get("HOME"))


@lru_cache(maxsize=8)
def _key_of(*environment: str | None) -> HashKey:
    return load_key()


@lru_cache(maxsize=4096)
def _pseudonym(user_id: str, key: HashKey) -> str:
    return key.digest(user_id.encode("utf-8", "replace"), b"user", PSEUDONYM_BYTES).hex()
