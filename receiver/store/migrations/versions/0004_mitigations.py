"""When a mitigation is to be put back stands in its plan's row, so that what is due is found by an index."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column; plans of earlier releases never expire."""
    op.add_column("plans", sa.Column("expires_at", sa.Double(), nullable=True))
    op.create_index("plans_expiring", "plans", ["expires_at"])
