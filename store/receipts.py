"""What the store remembers of files that were imported whole: until one changes, reading it again adds nothing.

Whatever takes records out of the store takes all receipts with them.
"""

from __future__ import annotations

from sqlalchemy import delete, select, text
from sqlalchemy.engine import Connection

from inferometer.store.tables import IMPORTED_FILES
from inferometer.store.writers import writer_for

_LOCK_ID = 0x1F_E0_6E_7F
"""Of the advisory lock by which an erasure waits for imports, whose receipts it could not see yet, and they for it."""


def find_receipt(connection: Connection, path_id: bytes, state: bytes) -> str | None:
    """Return what was told of a file when it was imported in this state; None where it was not."""
    table = IMPORTED_FILES.c
    found = connection.execute(select(table.state, table.told).where(table.path_id == path_id)).first()
    return str(found.told) if found is not None and found.state == state else None


def leave_receipt(connection: Connection, path_id: bytes, state: bytes, told: str) -> None:
    """Remember that all of a file in this state is in the store, in place of what was remembered of it before."""
    writer_for(connection).upsert(IMPORTED_FILES, [(path_id, state, told)])


def hold_receipts(connection: Connection, *, alone: bool) -> None:
    """Keep erasures out until the transaction ends, or, ``alone``, imports too; to be called before anything is read.

    Nothing to do where a database lets one write at a time.
    """
    if connection.dialect.name == "postgresql":
        kind = "" if alone else "_shared"
        connection.execute(text(f"SELECT pg_advisory_xact_lock{kind}({_LOCK_ID})"))


def drop_receipts(connection: Connection) -> None:
    """Forget all imported files."""
    connection.execute(delete(IMPORTED_FILES))
