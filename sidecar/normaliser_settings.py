"""What the normaliser process is told; apart from it, so that its parent need not load it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class NormaliserSettings:
    """The settings that the parent hands down as one line of JSON.

    Args:
        careful: set after a crash: entries are taken one by one, and one that crashes again and again is set aside.
    """

    store: str | None
    journal: str
    content: str
    max_request_bytes: int
    keep_s: int | None
    keep_quarantine_s: int
    sample: float
    sample_keep_usd: str
    log_format: str
    log_level: str
    careful: bool = False
