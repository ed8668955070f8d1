"""The one shape of a dialect: how an instrumentation's spans are told apart and read.

A dialect is data first: the scopes and keys it is known by, and per field of ours the keys it may stand under, in order
of precedence. Per field the first alias present is read; aliases are never summed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from inferometer.ingest.raw import RawSpan
from inferometer.schema.records import Operation, SpanKind, UsageSemantics

Fields = dict[str, Any]
"""What was read from one span: a field's name to its value as written."""

KindReader = Callable[[RawSpan, Fields], "SpanKind | Operation | None"]
"""Says what a span is; an `Operation` stands for an inference of that kind."""

Refiner = Callable[[RawSpan, Fields], None]
"""Reads what a table cannot say: JSON inside an attribute, events, other units. Changes the fields in place."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """One instrumentation's way of writing spans.

    Args:
        name: as stored with each span.
        reads: what is read and from which version, for the documentation.
        scopes: instrumentation scopes that write it; a trailing ``*`` matches any end.
        markers: keys that only this dialect writes; a trailing ``*`` matches any end.
        aliases: field to keys, the first present is read. Fields with a unit carry it in their name.
        content: keys that hold what people and models said; a trailing ``*`` matches any end.
        kind: says what a span is.
        semantics: whether its input count holds cached tokens.
        refine: reads what the table cannot say.
        tag_prefixes: beginnings of keys whose rest names a tag.
        wraps: whether it stands around the attributes of another dialect, which is then read first.
    """

    name: str
    reads: str
    aliases: Mapping[str, tuple[str, ...]]
    kind: KindReader
    scopes: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    semantics: UsageSemantics = UsageSemantics.INCLUSIVE
    refine: Refiner | None = None
    tag_prefixes: tuple[str, ...] = ()
    wraps: bool = False
    by_key: dict[str, tuple[tuple[str, int], ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index: dict[str, list[tuple[str, int]]] = {}
        for name, keys in self.aliases.items():
            for rank, key in enumerate(keys):
                index.setdefault(key, []).append((name, rank))
        object.__setattr__(self, "by_key", {key: tuple(places) for key, places in index.items()})

    def read(self, attributes: Mapping[str, Any]) -> Fields:
        """Return the fields that the attributes name, each from its first alias present."""
        fields: Fields = {}
        ranks: dict[str, int] = {}
        by_key = self.by_key
        for key in by_key.keys() & attributes.keys():
            value = attributes[key]
            if value is None:
                continue
            for name, rank in by_key[key]:
                if rank < ranks.get(name, 99):
                    ranks[name] = rank
                    fields[name] = value
        return fields


def extend(
    base: Mapping[str, tuple[str, ...]], first: Mapping[str, tuple[str, ...]] | None = None, **last: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return a table of aliases: ``first`` before those of ``base``, ``last`` after them."""
    table = dict(base)
    for name, keys in (first or {}).items():
        table[name] = (*keys, *(key for key in table.get(name, ()) if key not in keys))
    for name, keys in last.items():
        table[name] = (*table.get(name, ()), *(key for key in keys if key not in table.get(name, ())))
    return table
