"""The commands that list what a report shows, with the options that the report itself was made with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LISTING = "--list"


@dataclass(slots=True, frozen=True)
class Commands:
    """What an audit was made with.

    Attributes:
        store: the ``--store`` it read; None for the default one.
        selection: ``--since``, ``--until`` and ``--where`` with their values.
        prices: a price file of one's own.
        stated: further options of the audit, such as ``--ledger`` with its file.
        bills: ``--bill`` for each bill, and ``--rate``.
    """

    store: str | None = None
    selection: Sequence[str] = ()
    prices: str | None = None
    stated: Sequence[str] = ()
    bills: Sequence[str] = ()

    def reading(self, words: str) -> str:
        """Return a command that reads a selection, such as ``inferometer runs``."""
        return _joined(words, self._store, self.selection, self._prices)

    def showing(self, run_id: str) -> str:
        """Return the command that shows a run."""
        return _joined(f"inferometer show {run_id}", self._store, self._prices)

    def audit(self, *words: str) -> str:
        """Return the audit's own command with other words; a bound among them stands in for the selection's own."""
        kept = [
            word
            for name, value in zip(self.selection[::2], self.selection[1::2], strict=True)
            if name == "--where" or name not in words
            for word in (name, value)
        ]
        return _joined("inferometer audit", words, self._store, kept, self._prices, self.stated, self.bills)

    def reconciling(self) -> str:
        """Return the command that sets the bills beside the traces, day by day."""
        return _joined("inferometer reconcile --json", self.bills, self._store, self.selection, self._prices)

    def listing(self, id_: str) -> str:
        """Return the command that lists every call behind a finding, a recommendation or a table."""
        return self.audit(LISTING, id_)

    @property
    def _store(self) -> Sequence[str]:
        if self.store is None:
            return ()
        # a password stays out of a report that is passed on
        return ("--store", "$INFEROMETER_STORE" if "@" in self.store else self.store)

    @property
    def _prices(self) -> Sequence[str]:
        return () if self.prices is None else ("--prices", self.prices)


def selection_words(window: Mapping[str, Any]) -> list[str]:
    """Return the selection of an audit document's ``window`` as options."""
    words = [word for name in ("since", "until") if window[name] for word in (f"--{name}", window[name])]
    return [*words, *(word for key, value in window.get("where", []) for word in ("--where", f"{key}={value}"))]


def _joined(words: str, *more: Sequence[str]) -> str:
    quoted = [f'"{word}"' if word.startswith("$") else shlex.quote(word) for part in more for word in part]
    return " ".join([words, *quoted])
