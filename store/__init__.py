"""Where records live: SQLAlchemy Core tables, migrations, one bulk writer per SQL dialect, and every query."""

from __future__ import annotations

from inferometer.store.database import Store, open_store
from inferometer.store.transaction import Transaction, WriteCounts

__all__ = ["Store", "Transaction", "WriteCounts", "open_store"]
