"""Dialects: one module each, one shape, one table of aliases. The order here is the order of precedence."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from inferometer.ingest.dialects import (
    agent_framework,
    ai_sdk,
    anthropic_sdk,
    claude_code,
    codex,
    crewai,
    engine,
    gemini_cli,
    gen_ai,
    google_adk,
    langfuse,
    langsmith,
    litellm,
    mcp,
    mlflow,
    monocle,
    openinference,
    openlit,
    openllmetry,
    pydantic_ai,
    strands,
)
from inferometer.ingest.dialects.dialect import Dialect

DIALECTS: tuple[Dialect, ...] = (
    langfuse.DIALECT,
    openinference.DIALECT,
    openllmetry.DIALECT,
    ai_sdk.DIALECT,
    pydantic_ai.DIALECT,
    mlflow.DIALECT,
    langsmith.DIALECT,
    monocle.DIALECT,
    google_adk.DIALECT,
    strands.DIALECT,
    anthropic_sdk.DIALECT,
    claude_code.DIALECT,
    codex.DIALECT,
    gemini_cli.DIALECT,
    engine.DIALECT,
    litellm.DIALECT,
    agent_framework.DIALECT,
    crewai.DIALECT,
    openlit.DIALECT,
    mcp.DIALECT,
    gen_ai.DIALECT,
)
"""All dialects; where a span carries the markers of two, the first is read."""

_SCOPES = {scope: dialect for dialect in DIALECTS for scope in dialect.scopes if not scope.endswith("*")}
_SCOPE_PREFIXES = tuple(
    (scope[:-1], dialect) for dialect in DIALECTS for scope in dialect.scopes if scope.endswith("*")
)
_MARKERS = {marker: rank for rank, dialect in enumerate(DIALECTS) for marker in dialect.markers if marker[-1] != "*"}
_MARKER_PREFIXES = tuple(
    (marker[:-1], rank) for rank, dialect in enumerate(DIALECTS) for marker in dialect.markers if marker[-1] == "*"
)
_WRAPPERS = tuple((marker, dialect) for dialect in DIALECTS if dialect.wraps for marker in dialect.markers)
_KEY_RANKS: dict[str, int] = {}
_KEYS_REMEMBERED = 4096
_NONE = len(DIALECTS)


def dialect_of(scope: str | None, attributes: Mapping[str, Any]) -> Dialect | None:
    """Return the dialect of a span: by scope first, then by marker keys; None where nothing tells."""
    by_scope = _dialect_of_scope(scope) if scope else None
    if by_scope is not None:
        return by_scope
    best = _NONE
    for key in attributes:
        rank = _KEY_RANKS.get(key, -1)
        if rank < 0:
            rank = _rank_of(key)
        if rank < best:
            best = rank
    return DIALECTS[best] if best < _NONE else None


def wrapper_of(attributes: Mapping[str, Any]) -> Dialect | None:
    """Return the dialect that stands around another's attributes, where one does."""
    for marker, dialect in _WRAPPERS:
        if marker in attributes:
            return dialect
    return None


@lru_cache(maxsize=1024)
def _dialect_of_scope(scope: str) -> Dialect | None:
    known = _SCOPES.get(scope)
    if known is None:
        known = next((dialect for prefix, dialect in _SCOPE_PREFIXES if scope.startswith(prefix)), None)
    return known


def _rank_of(key: str) -> int:
    rank = _MARKERS.get(key)
    if rank is None:
        rank = next((rank for prefix, rank in _MARKER_PREFIXES if key.startswith(prefix)), _NONE)
    if len(_KEY_RANKS) < _KEYS_REMEMBERED:  # keys come from outside: what is remembered must stay bounded
        _KEY_RANKS[key] = rank
    return rank
