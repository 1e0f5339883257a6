"""Pauses, and failed or unknown emails that a person closed.

Revision ID: 0017
Revises: 0016
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
oldest_code = "0017"


def upgrade() -> None:
    op.create_table(
        "pauses",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("scope", sa.String(64), nullable=False),
        sa.Column("target", sa.String(64), nullable=True),
        sa.Column("until", Instant(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("ended_by", sa.String(64), nullable=True),
    )
    op.create_index(
        "pauses_open",
        "pauses",
        ["id"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.add_column("actions", sa.Column("closed_at", Instant(), nullable=True))


def downgrade() -> None:
    op.drop_column("actions", "closed_at")
    op.drop_index("pauses_open", "pauses")
    op.drop_table("pauses")
