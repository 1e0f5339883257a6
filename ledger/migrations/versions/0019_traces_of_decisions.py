"""Traces of decisions, kept 90 days.

Revision ID: 0019
Revises: 0018
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
oldest_code = "0017"


def upgrade() -> None:
    op.create_table(
        "decisions",
        sa.Column(
            "event_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            sa.ForeignKey("events.id"),
            primary_key=True,
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("decided_at", Instant(), nullable=False),
        sa.Column("rules_version", sa.String(64), nullable=False),
        sa.Column("tried", sa.JSON(), nullable=False),
    )
    op.create_index("ix_decisions_decided_at", "decisions", ["decided_at"])


def downgrade() -> None:
    op.drop_index("ix_decisions_decided_at", "decisions")
    op.drop_table("decisions")
