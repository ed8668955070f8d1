"""Where vocabulary files lie on this machine: installed packages, tiktoken's cache, Hugging Face's cache."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from hashlib import sha1
from importlib.util import find_spec
from pathlib import Path

from inferometer.schema.errors import InputError
from inferometer.tokens.vocabularies.registry import Carrier, Descriptor


def candidate_files(descriptor: Descriptor) -> Iterator[Path]:
    """Yield the files that may hold a vocabulary, the most likely first."""
    for carrier in descriptor.carriers:
        path = carrier_file(carrier)
        if path is not None and path.is_file():
            yield path
    if descriptor.url is not None:
        name = sha1(descriptor.url.encode(), usedforsecurity=False).hexdigest()
        yield from (folder / name for folder in _tiktoken_caches() if (folder / name).is_file())
    for pattern in descriptor.hub:
        repository, _, file = pattern.partition("/")
        yield from sorted(_hub_cache().glob(f"models--{repository}/snapshots/*/{file}"))


def carrier_file(carrier: Carrier) -> Path | None:
    """Return where a carrier's file would lie; the package is found, not imported. None where it is not installed."""
    try:
        spec = find_spec(carrier.package)
    except (ImportError, ValueError):
        return None
    locations = list(spec.submodule_search_locations or ()) if spec else []
    return Path(locations[0]) / carrier.path if locations else None


def read_file(path: Path) -> bytes:
    """Return a file's content, unpacked where its name ends in ``.gz``.

    Raises:
        InputError: it cannot be read or unpacked.
    """
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(str(path), f"cannot be read: {error}") from None


def _tiktoken_caches() -> list[Path]:
    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    return [Path(named)] if named else [Path(tempfile.gettempdir()) / "data-gym-cache"]


def _hub_cache() -> Path:
    if named := os.environ.get("HF_HUB_CACHE"):
        return Path(named)
    home = os.environ.get("HF_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "huggingface") / "hub"
