"""What sampling took out of a run is remembered, so that it is known where it comes again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of spans that were taken out; drop an index that no query asks for."""
    op.create_table(
        "thinned_spans",
        sa.Column("trace_id", sa.LargeBinary, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("spans", sa.LargeBinary, nullable=False),
    )
    op.create_index("thinned_spans_by_run", "thinned_spans", ["trace_id", "run_id"], unique=True)
    op.drop_index("inferences_by_response", "inferences")
