"""What the normaliser process is told; apart from it, so that its parent need not load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inferometer.sidecar.settings import Settings


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
    max_journal_bytes: int
    keep_s: int | None
    keep_quarantine_s: int
    sample: float
    sample_keep_usd: str
    log_format: str
    log_level: str
    careful: bool = False

    @classmethod
    def of(cls, settings: Settings, journal: str) -> NormaliserSettings:
        """Return what of a sidecar's settings its normaliser is told.

        Args:
            settings: the sidecar's.
            journal: path of its journal.
        """
        return cls(
            store=settings.store,
            journal=journal,
            content=settings.content,
            max_request_bytes=settings.max_request_bytes,
            max_journal_bytes=settings.max_journal_bytes,
            keep_s=settings.keep_s,
            keep_quarantine_s=settings.keep_quarantine_s,
            sample=settings.sample,
            sample_keep_usd=str(settings.sample_keep_usd),
            log_format=settings.log_format,
            log_level=settings.log_level,
        )
