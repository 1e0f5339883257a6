"""What a restored ledger does not know, what people released, and a log of their decisions.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
oldest_code = "0004"


def upgrade() -> None:
    op.add_column("actions", sa.Column("released_at", Instant(), nullable=True))
    op.create_table(
        "control_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "gaps",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("began_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("gaps")
    op.drop_table("control_log")
    op.drop_column("actions", "released_at")
