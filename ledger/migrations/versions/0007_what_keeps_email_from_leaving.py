"""What keeps email from leaving, and from when on a hand-over may have succeeded.

Code before this revision does not write `committed_at`, so it must not perform actions afterwards:
an email whose final dot it sent would count as never sent.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
oldest_code = "0007"


def upgrade() -> None:
    op.create_table(
        "outages",
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind"),
    )
    op.add_column("actions", sa.Column("committed_at", Instant(), nullable=True))
    # Of what is being handed over now, nobody knows how far it came.
    op.execute("UPDATE actions SET committed_at = due_at WHERE state = 'performing'")


def downgrade() -> None:
    op.drop_column("actions", "committed_at")
    op.drop_table("outages")
