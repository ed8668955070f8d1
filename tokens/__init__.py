"""Exact token counting, vocabularies and keyed hashes of prefixes and arguments.

Importing this package is cheap; the C extension and a vocabulary load when an encoding is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inferometer.tokens.fingerprint import argument_fingerprint as argument_fingerprint
    from inferometer.tokens.history import History as History
    from inferometer.tokens.key import HashKey as HashKey
    from inferometer.tokens.key import load_key as load_key
    from inferometer.tokens.models import encoding_name_for_model as encoding_name_for_model
    from inferometer.tokens.stream import TokenStream as TokenStream
    from inferometer.tokens.tokenizer import Encoding as Encoding
    from inferometer.tokens.tokenizer import encoding as encoding
    from inferometer.tokens.tokenizer import encoding_for_model as encoding_for_model
    from inferometer.tokens.tokenizer import encoding_from_file as encoding_from_file

_HOMES = {
    "History": "inferometer.tokens.history",
    "TokenStream": "inferometer.tokens.stream",
    "encoding": "inferometer.tokens.tokenizer",
    "encoding_for_model": "inferometer.tokens.tokenizer",
    "encoding_from_file": "inferometer.tokens.tokenizer",
    "Encoding": "inferometer.tokens.tokenizer",
    "encoding_name_for_model": "inferometer.tokens.models",
    "HashKey": "inferometer.tokens.key",
    "load_key": "inferometer.tokens.key",
    "argument_fingerprint": "inferometer.tokens.fingerprint",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'inferometer.tokens' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
