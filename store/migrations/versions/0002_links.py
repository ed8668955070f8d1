"""Spans that link to others are found without reading all."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the index of linking spans."""
    linking = sa.text("links IS NOT NULL")
    op.create_index("spans_by_link", "spans", ["trace_id"], sqlite_where=linking, postgresql_where=linking)
