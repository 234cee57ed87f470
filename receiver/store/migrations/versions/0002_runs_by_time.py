"""Budgets count the runs of the last hour: by their time, and not by looking at every run there ever was."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index."""
    op.create_index("intents_created", "intents", ["created_at"])
