"""Size and digest of each delivery, and counts of those that were refused.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
oldest_code = "0004"


def upgrade() -> None:
    # Not as a batch, which makes the table anew: others point at its rows.
    op.add_column("deliveries", sa.Column("size", sa.Integer(), nullable=True))
    op.add_column("deliveries", sa.Column("digest", sa.String(length=64), nullable=True))
    op.create_table(
        "refusals",
        sa.Column("hour", Instant(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("last_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "reason"),
    )


def downgrade() -> None:
    op.drop_table("refusals")
    op.drop_column("deliveries", "digest")
    op.drop_column("deliveries", "size")
