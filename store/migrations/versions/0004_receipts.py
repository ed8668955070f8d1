"""Which files were imported whole is remembered, so that one that did not change is not read again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of imported files."""
    op.create_table(
        "imported_files",
        sa.Column("path_id", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("told", sa.Text, nullable=False),
    )
    op.create_index("imported_files_by_path", "imported_files", ["path_id"], unique=True)
