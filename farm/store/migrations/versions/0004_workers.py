"""The farm's workers"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs."""
    op.create_table(
        "worker",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("session", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=32), nullable=True),
        sa.Column("about", sa.LargeBinary(), nullable=False),
        sa.Column("models", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("connect_time_s", sa.Float(), nullable=False),
        sa.Column("heard_s", sa.Float(), nullable=False),
        sa.Column("drain_wanted", sa.Boolean(), nullable=False),
        sa.Column("refused_report_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
