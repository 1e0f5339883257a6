"""Accounts of operators, their one-time links and their sessions.

Revision ID: 0030
Revises: 0029
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables.columns import Id, Instant

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None
# Older code has no pages for operators and does not read these tables.
oldest_code = "0023"


def upgrade() -> None:
    op.create_table(
        "operators",
        sa.Column("id", Id, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("name_key", sa.String(64), nullable=False, unique=True),
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("made_by", sa.String(64), nullable=False),
        sa.Column("closed_at", Instant(), nullable=True),
    )
    op.create_table(
        "operator_links",
        sa.Column("token_hash", sa.String(64), primary_key=True, nullable=False),
        sa.Column("operator_id", Id, sa.ForeignKey("operators.id"), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("ends_at", Instant(), nullable=False),
        sa.Column("used_at", Instant(), nullable=True),
    )
    op.create_index("ix_operator_links_operator_id", "operator_links", ["operator_id"])
    op.create_index("ix_operator_links_ends_at", "operator_links", ["ends_at"])
    op.create_table(
        "operator_sessions",
        sa.Column("token_hash", sa.String(64), primary_key=True, nullable=False),
        sa.Column("operator_id", Id, sa.ForeignKey("operators.id"), nullable=False),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
    )
    op.create_index("ix_operator_sessions_seen_at", "operator_sessions", ["seen_at"])
    op.create_index("sessions_of_operator", "operator_sessions", ["operator_id", "seen_at"])


def downgrade() -> None:
    op.drop_table("operator_sessions")
    op.drop_table("operator_links")
    op.drop_table("operators")
