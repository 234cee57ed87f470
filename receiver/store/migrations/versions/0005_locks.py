"""Which incident holds a security lock, so that lifting its locks leaves those of others in place."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One column; locks of earlier releases belong to no incident."""
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("security_locks", sa.Column("incident_id", number, nullable=True))
