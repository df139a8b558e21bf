"""Tenants: whose each job and image is, their limits, and their turns in the queue"""

from __future__ import annotations

import secrets
import time

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs; what the version before adds is the default tenant's."""
    tenant = op.create_table(
        "tenant",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("display_name", sa.String(length=128), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("max_queued_shots", sa.BigInteger(), nullable=True),
        sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("max_streams", sa.BigInteger(), nullable=True),
        sa.Column("max_requests_per_minute", sa.BigInteger(), nullable=True),
        sa.Column("max_gpu_s_per_day", sa.Float(), nullable=True),
        sa.Column("create_time_s", sa.Float(), nullable=False),
        sa.Column("turn", sa.Float(), nullable=False),
        sa.Column("served_turn", sa.Float(), nullable=False),
        sa.Column("page_key", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_tenant")),
    )
    op.bulk_insert(
        tenant,
        [
            {
                "name": "default",
                "display_name": "",
                "weight": 1.0,
                "create_time_s": time.time(),
                "turn": 0.0,
                "served_turn": 0.0,
                "page_key": secrets.token_hex(32),
            }
        ],
    )
    op.create_table(
        "image_owner",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("create_time_s", sa.Float(), nullable=False),
        sa.Column("want_time_s", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "sha256", name=op.f("pk_image_owner")),
        sa.ForeignKeyConstraint(
            ["sha256"],
            ["image.sha256"],
            name=op.f("fk_image_owner_sha256"),
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_image_owner_sha256", "image_owner", ["sha256"])
    op.create_table(
        "gpu_use",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("hour", sa.Integer(), nullable=False),
        sa.Column("gpu_s", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "hour", name=op.f("pk_gpu_use")),
    )
    for table in ("job", "shot"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(
                sa.Column("tenant", sa.String(length=64), nullable=False, server_default="default")
            )
    op.create_index("ix_job_tenant", "job", ["tenant", "number"])
    op.create_index(
        "ix_shot_tenant_queue",
        "shot",
        ["tenant", "state", sa.literal_column("priority DESC"), "job_number", "number"],
    )
    op.create_index("ix_shot_tenant_video", "shot", ["tenant", "video_key", "video_size_bytes"])
    op.execute(
        sa.text(
            "INSERT INTO image_owner (tenant, sha256, create_time_s, want_time_s) "
            "SELECT 'default', sha256, create_time_s, want_time_s FROM image"
        )
    )
