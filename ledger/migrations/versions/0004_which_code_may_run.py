"""Which code may run on the ledger, kept where code that does not know a revision can read it.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
oldest_code = "0004"


def upgrade() -> None:
    op.create_table(
        "revisions",
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("oldest_code", sa.String(length=64), nullable=False),
        sa.Column("applied_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("revision"),
    )


def downgrade() -> None:
    op.drop_table("revisions")
