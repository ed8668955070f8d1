"""Which records a reading command looks at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Selection:
    """A window in time and equalities that runs must meet; the default is everything.

    Args:
        since_ns: first nanosecond since 1970, inclusive.
        until_ns: first nanosecond that is out.
        where: (key, value) pairs, all of which hold; keys are model, provider, agent, run, session, user, purpose,
            service, dialect, source, or ``tag.NAME``.
    """

    since_ns: int | None = None
    until_ns: int | None = None
    where: tuple[tuple[str, str], ...] = ()
