"""The farm's workers, and what the retry rule looks at"""

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
        sa.Column("cordon_reason", sa.String(length=64), nullable=True),
        sa.Column("cordon_message", sa.Text(), nullable=True),
        sa.Column("cordon_lifted_time_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    with op.batch_alter_table("shot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("memory_profile", sa.Integer(), nullable=True))
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.add_column(sa.Column("start_time_s", sa.Float(), nullable=True))
        batch_op.create_index("ix_attempt_worker", ["worker", "outcome"], unique=False)
