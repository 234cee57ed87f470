"""Who says who an approver is, so that they can be asked about again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Two columns; of votes that older releases write it is not known."""
    op.add_column("approvals", sa.Column("known_by", sa.Text(), nullable=False, server_default=""))
    op.add_column("approvals", sa.Column("uid", sa.Text(), nullable=False, server_default=""))
