"""Users by a pseudonym: one person's runs are found together, and who it is cannot be read back."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Any

from inferometer.schema.attributes import SCOPE
from inferometer.tokens.key import PSEUDONYM_BYTES, VARIABLE, HashKey, load_key

_is_pseudonym = re.compile(rf"[0-9a-f]{{{2 * PSEUDONYM_BYTES}}}", re.ASCII).fullmatch


def user_of(user_id: Any, user_hash: Any, scope: str | None, key: HashKey) -> str | None:
    """Return the pseudonym of a span's user; None for no user.

    Our own tracer has hashed the id already where it says so. What others call a hash may be guessed back, and is
    hashed as an id is.
    """
    if user_hash is not None and scope == SCOPE and isinstance(user_hash, str) and _is_pseudonym(user_hash):
        return user_hash
    return hashed_user(user_hash if user_id is None else user_id, key)


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
    return key.pseudonym(user_id)
