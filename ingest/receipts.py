"""Files that are in the store already: what a file is known by, and what an import of it told.

A file is unchanged if its place, size and times are, as version control tells it: reading is what costs. One that was
written to moments before it was read may change again within one tick of its clock, and is read again.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath

import inferometer
from inferometer.ingest.copies import Identity
from inferometer.ingest.users import current_key
from inferometer.store import Store, Transaction
from inferometer.store.encoding import dump_json, parse_json
from inferometer.store.receipts import find_receipt, hold_receipts, leave_receipt

SETTLED_NS = 2_000_000_000
"""How long before it is read a file was last written to, at least, so that it can be known again."""

_ID_BYTES = 16

Mark = tuple[tuple[int, ...], ...]


def mark_of(path: PurePath) -> Mark | None:
    """Return what changes whenever a file is written to, or what belongs to it; None where there is no such file.

    Rows of an SQLite database that is being written lie beside it, in its write-ahead log; an empty one says nothing.
    """
    with suppress(OSError):
        states = [Path(path).stat()]
        with suppress(OSError):
            log = Path(f"{path}-wal").stat()
            states += [log] * bool(log.st_size)
        return tuple((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns) for each in states)
    return None


@dataclass(slots=True, frozen=True)
class FileState:
    """One file as it is at one time, and how it is to be read.

    Args:
        path: where it lies.
        asked: what the user asked for: format, model, content.
        mark: from `mark_of`.
        seen_ns: when that was, in nanoseconds since 1970.
    """

    path: str
    asked: tuple[str, ...]
    mark: Mark
    seen_ns: int

    @classmethod
    def of(cls, path: PurePath, *asked: object) -> FileState | None:
        """Return a file's state now; None where it is no file."""
        mark = mark_of(path)
        return None if mark is None else cls(str(Path(path).absolute()), tuple(map(repr, asked)), mark, time.time_ns())

    def is_final(self) -> bool:
        """Return whether the file is still in this state, and nothing could be written to it that its times hide."""
        settled = all(max(written, changed) < self.seen_ns - SETTLED_NS for *_, written, changed in self.mark)
        return settled and mark_of(PurePath(self.path)) == self.mark

    def ids(self) -> tuple[bytes, bytes]:
        """Return what names the file, and this state of it as this code reads it; neither can be read back."""
        key = current_key()
        path, state = os.fsencode(self.path), repr((self.asked, self.mark, _code_mark())).encode()
        return key.digest(path, b"import", _ID_BYTES), key.digest(state, b"import", _ID_BYTES)


@dataclass(slots=True)
class Receipt:
    """What an import of a file tells when it adds nothing.

    Args:
        name: the file's.
        records: how many spans it holds, repeated ones too.
        warnings: counts by kind.
        sessions: what its sessions are known again by.
    """

    name: str
    records: int = 0
    warnings: Counter[str] = field(default_factory=Counter)
    sessions: list[Identity] = field(default_factory=list)

    def expect(self, tx: Transaction) -> None:
        """Keep away whoever would take the file's records out of the store while they are written."""
        hold_receipts(tx.connection, alone=False)

    def leave(self, tx: Transaction, state: FileState) -> None:
        """Note that all records of a file in this state are in the store when the transaction ends."""
        sessions = [[trace_id.hex(), identity.hex()] for trace_id, identity in self.sessions]
        told = dump_json([self.name, self.records, dict(self.warnings), sessions])
        leave_receipt(tx.connection, *state.ids(), told)

    @classmethod
    def find(cls, store: Store, state: FileState) -> Receipt | None:
        """Return the receipt of a file in this state; None where it has to be read."""
        with store.reading() as connection:
            told = find_receipt(connection, *state.ids())
        if told is None:
            return None
        name, records, warnings, sessions = parse_json(told)
        return cls(
            name, records, Counter(warnings), [(bytes.fromhex(one), bytes.fromhex(two)) for one, two in sessions]
        )


@lru_cache(maxsize=1)
def _code_mark() -> tuple[int, int]:
    """Return what is another where the code that reads files, and counts what it reads, is another."""
    states = [
        Path(folder, name).stat()
        for folder, _, names in os.walk(Path(inferometer.__file__).parent, followlinks=True)
        for name in names
        if name.endswith((".py", ".so", ".pyd"))
    ]
    return len(states), hash(tuple(sorted((state.st_size, state.st_mtime_ns) for state in states)))
