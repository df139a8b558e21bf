"""Videos that several shots share, and what makes them one"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs."""
    with op.batch_alter_table("shot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("cache_key", sa.String(length=64), nullable=True))
        batch_op.add_column(sa.Column("cached_from", sa.String(length=64), nullable=True))
    op.create_index("ix_shot_cache_key", "shot", ["cache_key"])
    op.create_index("ix_shot_video_key", "shot", ["video_key"])
    with op.batch_alter_table("model", schema=None) as batch_op:
        batch_op.add_column(sa.Column("identity", sa.String(length=64), nullable=True))
    # Farms before this one delete a video with its own job, whoever else names it.
    op.execute(sa.text("UPDATE compatibility SET oldest_revision = '0007'"))
