"""Meters: the kinds of token that have a price of their own."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Meters:
    """Tokens of one inference, or of many; every count is tokens, None where unknown.

    The first five are disjoint: nothing is in two of them. ``reasoning`` is a part of ``output``; the modality splits
    are parts of ``input_fresh``, ``cache_read`` and ``output`` and are never added to them; ``input_audio`` holds
    cached audio too.
    """

    input_fresh: int | None = None
    cache_read: int | None = None
    cache_write_5m: int | None = None
    cache_write_1h: int | None = None
    output: int | None = None
    reasoning: int | None = None
    input_text: int | None = None
    input_audio: int | None = None
    input_image: int | None = None
    cache_read_audio: int | None = None
    output_text: int | None = None
    output_audio: int | None = None
    output_image: int | None = None

    @property
    def input_total(self) -> int | None:
        """Tokens of input, cached or not; None where no part is known."""
        # asked for millions of times in an audit: additions in turn take a third of the time of a list of parts
        total = self.input_fresh
        if self.cache_read is not None:
            total = self.cache_read if total is None else total + self.cache_read
        if self.cache_write_5m is not None:
            total = self.cache_write_5m if total is None else total + self.cache_write_5m
        if self.cache_write_1h is not None:
            total = self.cache_write_1h if total is None else total + self.cache_write_1h
        return total

    @property
    def total(self) -> int | None:
        """Tokens in and out; None where neither is known."""
        known = [part for part in (self.input_total, self.output) if part is not None]
        return sum(known) if known else None

    @property
    def is_known(self) -> bool:
        """Whether any meter holds a count."""
        return self.input_total is not None or self.output is not None

    def as_dict(self) -> dict[str, int]:
        """Return the known meters by name."""
        return {name: value for name in METER_NAMES if (value := getattr(self, name)) is not None}


METER_NAMES: tuple[str, ...] = tuple(field.name for field in fields(Meters))
DISJOINT_METERS: tuple[str, ...] = ("input_fresh", "cache_read", "cache_write_5m", "cache_write_1h", "output")
