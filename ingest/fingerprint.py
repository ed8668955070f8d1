"""Keyed fingerprints: equal arguments and users are found again, and cannot be read back."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import blake2b
from importlib import import_module
from typing import Any


@cache
def _key() -> bytes | None:
    try:
        key: Callable[[], bytes] = import_module("inferometer.tokens.key").hash_key
    except (ModuleNotFoundError, AttributeError):
        return None
    return key()


def argument_fingerprint(arguments: Any) -> str | None:
    """Return 16 hex digits that calls with equal arguments share, whatever the order of their keys.

    Args:
        arguments: an object, or its JSON text; None gives None.
    """
    key = _key()
    if arguments is None or key is None:
        return None
    if isinstance(arguments, str):
        with suppress(ValueError, RecursionError):
            arguments = json.loads(arguments)
    try:
        text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), default=str)
    except (ValueError, RecursionError):
        return None
    return blake2b(text.encode("utf-8", "replace"), digest_size=8, key=key, person=b"inferometer.arg").hexdigest()


def hashed_user(user_id: Any) -> str | None:
    """Return a user's pseudonym, 16 hex digits; None for no user."""
    key = _key()
    if user_id is None or user_id == "" or key is None:
        return None
    return blake2b(
        str(user_id).encode("utf-8", "replace"), digest_size=8, key=key, person=b"inferometer.usr"
    ).hexdigest()
