"""Since when a shot waits, and what its worker logged in an attempt"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs."""
    with op.batch_alter_table("shot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("queue_time_s", sa.Float(), nullable=True))
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.add_column(sa.Column("log", sa.Text(), nullable=True))
