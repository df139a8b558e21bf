"""The farm's id, which its artifacts carry too, and who is deleting a file"""

from __future__ import annotations

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs."""
    table = op.create_table(
        "farm",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("bound", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_farm")),
    )
    op.bulk_insert(table, [{"id": secrets.token_hex(16), "bound": False}])
    with op.batch_alter_table("deletion", schema=None) as batch_op:
        batch_op.add_column(sa.Column("claim", sa.String(length=32), nullable=True))
        batch_op.add_column(sa.Column("claim_expiry_s", sa.Float(), nullable=True))
