"""What alembic runs: the upgrade happens on the connection and in the transaction it was given."""

from __future__ import annotations

from alembic import context

from inferometer.store.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
