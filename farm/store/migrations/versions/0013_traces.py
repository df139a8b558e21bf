"""The call that queued a shot, for the spans of the shot"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs."""
    with op.batch_alter_table("shot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("traceparent", sa.String(length=55), nullable=True))
        batch_op.add_column(sa.Column("trace_time_s", sa.Float(), nullable=True))
