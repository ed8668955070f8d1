"""How providers cache prompts: from how many tokens on, in which steps, for how long, and at what price."""

from __future__ import annotations

from dataclasses import dataclass

from inferometer.profiles.documents import Document, Provenance, Shelf, parse
from inferometer.schema.errors import ProfileError

MODES = ("automatic", "explicit", "both")


@dataclass(frozen=True, slots=True)
class Minimum:
    """The least prefix that is cached for models whose name begins with one of ``models``; tokens."""

    models: tuple[str, ...]
    tokens: int


@dataclass(frozen=True, slots=True)
class CachingRule:
    """One provider's rule. Factors are of the price of fresh input; seconds; None where it is not offered or not known.

    ``refreshes`` says that a read renews the time to live. ``breakpoints`` is how many a request may set,
    ``lookback_blocks`` how many content blocks before one are searched for an earlier entry. ``isolation`` is what two
    requests must share for one to read what the other wrote.
    """

    id: str
    aliases: tuple[str, ...]
    name: str
    mode: str
    minimum_tokens: int
    minimums: tuple[Minimum, ...]
    grain_tokens: int
    ttl_seconds: float
    long_ttl_seconds: float | None
    refreshes: bool
    breakpoints: int | None
    lookback_blocks: int | None
    read_factor: float | None
    write_factor: float | None
    long_write_factor: float | None
    storage_priced: bool
    isolation: str
    order: tuple[str, ...]
    notes: tuple[str, ...]
    provenance: Provenance

    def minimum_for(self, model: str) -> int:
        """Return the least prefix cached for a model, the longest matching name winning; tokens."""
        best, tokens = "", self.minimum_tokens
        for each in self.minimums:
            for start in each.models:
                if len(start) > len(best) and model.casefold().startswith(start.casefold()):
                    best, tokens = start, each.tokens
        return tokens


def read_caching(document: Document) -> CachingRule:
    """Read one provider's rule from its file.

    Raises:
        ProfileError: a key is missing, unknown, out of range or without a unit.
    """
    table = parse(document)
    minimums = []
    for each in table.tables("minimum"):
        minimums.append(Minimum(each.texts("models"), each.integer("tokens", minimum=1)))
        each.finish()
        if not minimums[-1].models:
            raise ProfileError(document.path, f"{each.name}.models names no model")
    breakpoints, lookback = table.optional_number("breakpoints"), table.optional_number("lookback_blocks")
    rule = CachingRule(
        id=document.stem,
        aliases=table.texts("aliases"),
        name=table.text("name"),
        mode=table.text("mode", among=MODES),
        minimum_tokens=table.integer("minimum_tokens", minimum=1),
        minimums=tuple(minimums),
        grain_tokens=table.integer("grain_tokens", minimum=1),
        ttl_seconds=table.number("ttl_seconds", minimum=1),
        long_ttl_seconds=table.optional_number("long_ttl_seconds", minimum=1),
        refreshes=table.flag("refreshes"),
        breakpoints=None if breakpoints is None else int(breakpoints),
        lookback_blocks=None if lookback is None else int(lookback),
        read_factor=table.optional_number("read_factor", maximum=1.0),
        write_factor=table.optional_number("write_factor"),
        long_write_factor=table.optional_number("long_write_factor"),
        storage_priced=table.flag("storage_priced"),
        isolation=table.text("isolation"),
        order=table.texts("order"),
        notes=table.texts("notes"),
        provenance=table.provenance(),
    )
    table.finish()
    return rule


CACHING = Shelf("caching", "caching profile", read_caching)
load_caching, list_caching = CACHING.load, CACHING.all
