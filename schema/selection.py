"""Which records a reading command looks at."""

from __future__ import annotations

from dataclasses import dataclass

from inferometer.schema.errors import UnknownNameError

WHERE_KEYS = (
    *("model", "provider", "agent", "run", "session", "user", "purpose"),
    *("service", "dialect", "source", "tag.NAME"),
)


@dataclass(slots=True, frozen=True)
class Selection:
    """A window in time and equalities that runs must meet; the default is everything.

    Args:
        since_ns: first nanosecond since 1970, inclusive.
        until_ns: first nanosecond that is out.
        where: (key, value) pairs, all of which hold; keys are those of `WHERE_KEYS`.

    Raises:
        UnknownNameError: a key is none of them.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    where: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for key, _ in self.where:
            if not key.startswith("tag.") and key not in WHERE_KEYS:
                raise UnknownNameError("--where key", key, WHERE_KEYS)
