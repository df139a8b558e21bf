"""The wish to cancel one shot of a job"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs."""
    with op.batch_alter_table("shot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("wish", sa.String(length=16), nullable=True))
