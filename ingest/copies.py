"""Sessions that are there twice under two ids: reported, never merged, for nobody knows which one was billed."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from inferometer.schema.records import RecordBatch

Identity = tuple[bytes, bytes]
"""A session's trace id, and a hash of what its calls used."""

MIN_CALLS = 3
"""Calls that a session has at least to be taken for a copy: fewer may well be alike by chance."""


class SessionCopies:
    """Remembers what the sessions of an import look like."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[bytes, str]] = {}
        self.found: list[tuple[str, str]] = []

    def look(self, sessions: Iterable[Identity], name: str) -> int:
        """Return how many sessions of a file are copies of one seen before; ``found`` names the files of each pair.

        Args:
            sessions: from `identities`.
            name: of the file.
        """
        copies = 0
        for trace_id, identity in sessions:
            known = self._seen.setdefault(identity, (trace_id, name))
            if known[0] != trace_id:
                copies += 1
                self.found.append((name, known[1]))
        return copies


def identities(batch: RecordBatch) -> list[Identity]:
    """Return what the sessions of a batch are known again by; short ones by nothing."""
    starts = {(span.trace_id, span.span_id): span.start_ns or 0 for span in batch.spans}
    calls: dict[bytes, list[tuple[int, str]]] = {}
    for call in batch.inferences:
        if call.meters.is_known:
            told = f"{call.model}\x1f{call.meters.input_total}\x1f{call.meters.output}"
            calls.setdefault(call.trace_id, []).append((starts.get((call.trace_id, call.span_id), 0), told))
    found = []
    for trace_id, told_calls in calls.items():
        if len(told_calls) >= MIN_CALLS:
            # what was said is the same, when it is said to have been said need not be
            text = "\x1e".join(told for _, told in sorted(told_calls))
            found.append((trace_id, blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()))
    return found
