"""What became of a plan stands in its row, so that policies can be judged by it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Four columns; plans of earlier releases leave them empty."""
    op.add_column("plans", sa.Column("mode", sa.Text(), nullable=True))
    op.add_column("plans", sa.Column("approved_at", sa.Double(), nullable=True))
    op.add_column("plans", sa.Column("executed_at", sa.Double(), nullable=True))
    op.add_column("plans", sa.Column("outcome", sa.Text(), nullable=True))
