"""Compiled vocabularies: found, checked and compiled once, then mapped from the cache directory."""

from __future__ import annotations

import contextlib
import gzip
import mmap
import os
import secrets
from array import array
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from inferometer.schema.errors import InputError, UserError
from inferometer.tokens import _native
from inferometer.tokens.vocabularies.formats import TokenTable, read_tiktoken
from inferometer.tokens.vocabularies.registry import Carrier, Descriptor


def load(descriptor: Descriptor) -> _native.Vocabulary:
    """Return the native vocabulary, compiling it where the cache directory has none.

    Raises:
        UserError: no installed package holds it.
        InputError: the file found is not the one expected.
    """
    path = cache_directory() / f"{descriptor.name}-{descriptor.sha256[:16]}-{_native.FORMAT}.bin"
    with contextlib.suppress(OSError, ValueError):
        return _map(path)
    block = _compile(descriptor)
    with contextlib.suppress(OSError):
        _write(path, block)
    return _native.Vocabulary(block)


def cache_directory() -> Path:
    """Return the folder of compiled vocabularies in the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "inferometer" / "vocabularies"


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


def _compile(descriptor: Descriptor) -> bytes:
    content, path = _find(descriptor)
    digest = sha256(content).digest()
    if digest.hex() != descriptor.sha256:
        raise InputError(path, f"not the {descriptor.name} vocabulary: its SHA-256 is {digest.hex()}")
    table = read_tiktoken(content, path)
    return compile_table(table, descriptor.family, digest)


def compile_table(table: TokenTable, family: str, digest: bytes) -> bytes:
    """Compile a table of tokens into the block that is mapped."""
    offsets = array("I", [0])
    end = 0
    for token in table.tokens:
        end += len(token)
        offsets.append(end)
    return _native.compile_vocabulary(
        b"".join(table.tokens), offsets, array("I", table.ids), None, _native.FAMILIES[family], True, digest
    )


def _find(descriptor: Descriptor) -> tuple[bytes, str]:
    for carrier in descriptor.carriers:
        path = _carrier_path(carrier)
        if path is not None and path.is_file():
            content = path.read_bytes()
            return (gzip.decompress(content) if path.suffix == ".gz" else content), str(path)
    packages = " or ".join(carrier.package for carrier in descriptor.carriers)
    raise UserError(f"the vocabulary {descriptor.name} is in no installed package: pip install {packages}")


def _carrier_path(carrier: Carrier) -> Path | None:
    try:
        spec = find_spec(carrier.package)
    except (ImportError, ValueError):
        return None
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) / carrier.path if locations else None
