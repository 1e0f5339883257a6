"""Reports: emails to others than members, with their copies.

Revision ID: 0025
Revises: 0024
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables.columns import Id, Instant

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None
# Older code sends no reports and does not read these tables.
oldest_code = "0023"

_UNFINISHED = sa.text("state IN ('planned', 'waiting', 'performing')")


def upgrade() -> None:
    op.create_table(
        "reports",
        sa.Column("id", Id, primary_key=True, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(240), nullable=False, unique=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("audience", sa.String(64), nullable=False),
        sa.Column("coworker_id", sa.BigInteger(), nullable=True),
        sa.Column("period_from", Instant(), nullable=True),
        sa.Column("period_to", Instant(), nullable=True),
        sa.Column("about", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("planned_at", Instant(), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("lease_until", Instant(), nullable=True),
        sa.Column("lease_token", sa.String(32), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("committed_at", Instant(), nullable=True),
        sa.Column("finished_at", Instant(), nullable=True),
        sa.Column("receipt", sa.Text(), nullable=True),
    )
    op.create_index(
        "reports_due",
        "reports",
        ["due_at"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
    op.create_index("reports_named", "reports", ["name", "audience", "id"])
    op.create_table(
        "report_copies",
        sa.Column("report_id", Id, sa.ForeignKey("reports.id"), primary_key=True, nullable=False),
        sa.Column("written_at", Instant(), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("media_type", sa.String(64), nullable=False),
    )
    op.create_index("ix_report_copies_written_at", "report_copies", ["written_at"])


def downgrade() -> None:
    op.drop_table("report_copies")
    op.drop_table("reports")
