"""Run by Alembic: one history for both stores, over the connection it is handed."""

from __future__ import annotations

from alembic import context

from receiver.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
