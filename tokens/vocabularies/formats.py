"""Readers of vocabulary files."""

from __future__ import annotations

import binascii
from dataclasses import dataclass

from inferometer.schema.errors import InputError


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokens of a vocabulary in the order of merging, and the ids the outside knows them by."""

    tokens: list[bytes]
    ids: list[int]


def read_tiktoken(content: bytes, path: str) -> TokenTable:
    """Read ``base64 rank`` lines; ranks may have holes.

    Raises:
        InputError: a line is neither, or a token or rank comes twice.
    """
    pairs: list[tuple[int, bytes]] = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            token, rank = line.split()
            pairs.append((int(rank), binascii.a2b_base64(token, strict_mode=True)))
        except ValueError:
            raise InputError(path, f"line {number} is not 'base64 rank'") from None
    pairs.sort()
    table = TokenTable([token for _, token in pairs], [rank for rank, _ in pairs])
    if not pairs or pairs[0][0] < 0 or len(set(table.tokens)) != len(pairs) or len(set(table.ids)) != len(pairs):
        raise InputError(path, "no tokens, or a token or a rank is there twice")
    return table
