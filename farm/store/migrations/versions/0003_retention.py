"""Retention: which files are to be deleted, and which images were asked for"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs."""
    op.create_table(
        "deletion",
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_deletion")),
    )
    with op.batch_alter_table("image", schema=None) as batch_op:
        batch_op.add_column(sa.Column("want_time_s", sa.Float(), nullable=True))
    with op.batch_alter_table("shot", schema=None) as batch_op:
        batch_op.create_index("ix_shot_image_sha256", ["image_sha256"], unique=False)
