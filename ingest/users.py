"""Users by a pseudonym: one person's runs are found together, and who it is cannot be read back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from inferometer.tokens.key import HashKey, load_key

PSEUDONYM_BYTES = 8


def hashed_user(user_id: Any) -> str | None:
    """Return a user's pseudonym, 16 hex digits under the user's own key; None for no user."""
    if user_id is None or user_id == "":
        return None
    return _pseudonym(str(user_id), load_key())


@lru_cache(maxsize=4096)
def _pseudonym(user_id: str, key: HashKey) -> str:
    return key.digest(user_id.encode("utf-8", "replace"), b"user", PSEUDONYM_BYTES).hex()
