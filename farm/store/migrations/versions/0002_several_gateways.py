"""Several gateways, and which versions may use the tables"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds what this version needs."""
    table = op.create_table(
        "compatibility",
        sa.Column("oldest_revision", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("oldest_revision", name=op.f("pk_compatibility")),
    )
    op.bulk_insert(table, [{"oldest_revision": "0001"}])
    with op.batch_alter_table("shot", schema=None) as batch_op:
        batch_op.add_column(sa.Column("gateway", sa.String(length=32), nullable=True))
