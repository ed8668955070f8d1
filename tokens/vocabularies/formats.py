"""Readers of vocabulary files: ``.tiktoken``, byte-level ``tokenizer.json``, Mistral's ``tekken.json``."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from inferometer.schema.errors import InputError
from inferometer.tokens.vocabularies.patterns import family_of_patterns


@dataclass(frozen=True, slots=True)
class TokenTable:
    """The tokens of a vocabulary in the order of merging.

    Args:
        tokens: their bytes.
        ids: the numbers the outside knows them by.
        merges: for each token the positions in ``tokens`` of the two it is merged from, None for single bytes; None
            altogether where ranks alone decide.
        whole_pieces: whether a piece that is a token stays whole even where merging would not lead to it.
        family: how text is cut, where the file says so.
        normalisation: Unicode form that text is brought to first, if any.
    """

    tokens: list[bytes]
    ids: list[int]
    merges: list[tuple[int, int] | None] | None = None
    whole_pieces: bool = True
    family: str | None = None
    normalisation: str | None = None


def read_table(content: bytes, path: str) -> TokenTable:
    """Read any of the formats, told apart by how they begin.

    Raises:
        InputError: it is none of them, or breaks its rules.
    """
    if not content.lstrip().startswith(b"{"):
        return read_tiktoken(content, path)
    try:
        document = json.loads(content)
        reader: Callable[[dict[str, Any], str], TokenTable] = (
            read_tekken if "vocab" in document else read_tokenizer_json
        )
        return reader(document, path)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        reason = f"not a vocabulary that can be read: {type(error).__name__} {error}"
        raise InputError(path, reason) from None


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


def read_tekken(document: dict[str, Any], path: str) -> TokenTable:
    """Read Mistral's tekken: ids begin after the special tokens, and the file lists more tokens than the model has."""
    settings = document["config"]
    special = int(settings["default_num_special_tokens"])
    count = int(settings["default_vocab_size"]) - special
    entries = sorted(document["vocab"], key=lambda entry: int(entry["rank"]))[:count]
    return TokenTable(
        tokens=[base64.b64decode(entry["token_bytes"]) for entry in entries],
        ids=[int(entry["rank"]) + special for entry in entries],
        family=_known_family([settings["pattern"]], path),
    )


def read_tokenizer_json(document: dict[str, Any], path: str) -> TokenTable:
    """Read a byte-level BPE of Hugging Face's tokenizers."""
    model = document["model"]
    if model["type"] != "BPE" or model.get("byte_fallback") or model.get("dropout"):
        raise InputError(
            path, "only byte-level BPE is read from tokenizer.json; sentencepiece models have their own file"
        )
    steps = _flatten(document.get("pre_tokenizer"), "pretokenizers")
    normalisers = [step["type"] for step in _flatten(document.get("normalizer"), "normalizers")]
    if "ByteLevel" not in [step["type"] for step in steps] or set(normalisers) - {"NFC", "NFKC"}:
        raise InputError(path, "its normalizer or pre_tokenizer is not one that is known")
    patterns = [step["pattern"]["Regex"] for step in steps if step["type"] == "Split"]
    if not patterns and any(step["type"] == "ByteLevel" and step.get("use_regex", True) for step in steps):
        patterns = [R50K_PATTERN]
    merges = [tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    tokens, ids, parents = _order_by_merge(model["vocab"], merges)
    return TokenTable(
        tokens=tokens,
        ids=ids,
        merges=parents,
        whole_pieces=bool(model.get("ignore_merges")),
        family=_known_family(patterns, path),
        normalisation=normalisers[0] if normalisers else None,
    )


R50K_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_HIDDEN = [byte for byte in range(256) if byte not in _PRINTABLE]
_BYTE_OF_CHARACTER = {chr(byte): byte for byte in _PRINTABLE} | {chr(256 + n): byte for n, byte in enumerate(_HIDDEN)}
"""GPT-2's printable spelling of bytes. Source: openai/gpt-2, src/encoder.py, bytes_to_unicode."""


def _order_by_merge(
    vocabulary: dict[str, int], merges: list[tuple[str, ...]]
) -> tuple[list[bytes], list[int], list[tuple[int, int] | None] | None]:
    """Order tokens by the merge that makes them; where one has several merges, as files made from ranks do, by id."""
    spellings = {token: _spell(token) for token in vocabulary}
    made = ["".join(merge) for merge in merges]
    if len(set(made)) < len(made):
        kept = sorted((number, spelled) for token, number in vocabulary.items() if (spelled := spellings[token]))
        return [spelled for _, spelled in kept], [number for number, _ in kept], None
    order = [token for token, spelled in spellings.items() if spelled and len(spelled) == 1] + made
    place = {token: position for position, token in enumerate(order)}
    # what no merge makes may still be a whole piece
    order += [token for token, spelled in spellings.items() if spelled and token not in place]
    parents: list[tuple[int, int] | None] = [None] * len(order)
    for merge, token in zip(merges, made, strict=True):
        parents[place[token]] = (place[merge[0]], place[merge[1]])
    return [spellings[token] or b"" for token in order], [vocabulary[token] for token in order], parents


def _spell(token: str) -> bytes | None:
    try:
        return bytes(_BYTE_OF_CHARACTER[character] for character in token)
    except KeyError:
        return None


def _flatten(step: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if step is None:
        return []
    return [inner for part in step[key] for inner in _flatten(part, key)] if step["type"] == "Sequence" else [step]


def _known_family(patterns: list[str], path: str) -> str:
    family = family_of_patterns(patterns)
    if family is None:
        raise InputError(path, f"cuts text by a pattern that is not known: {' then '.join(patterns)[:200]}")
    return family
