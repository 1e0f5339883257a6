"""What our own checks saw at the source, and how each of them went.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
oldest_code = "0003"


def upgrade() -> None:
    op.create_table(
        "sightings",
        sa.Column("entity", sa.String(length=64), nullable=False),
        sa.Column("record_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("changed_at", Instant(), nullable=False),
        sa.Column("created_at", Instant(), nullable=True),
        sa.Column("digest", sa.String(length=32), nullable=True),
        sa.Column("decided", sa.String(length=32), nullable=True),
        sa.Column("seen_at", Instant(), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("quiet_upto", Instant(), nullable=True),
        sa.Column("quiet_after", sa.BigInteger(), nullable=True),
        sa.Column("gone_at", Instant(), nullable=True),
        sa.Column("course_id", sa.BigInteger(), nullable=True),
        sa.Column("coworker_id", sa.BigInteger(), nullable=True),
        sa.Column("course_member_id", sa.BigInteger(), nullable=True),
        sa.Column("lesson_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("entity", "record_id"),
    )
    op.create_index("sightings_created", "sightings", ["entity", "created_at"])
    op.create_index("sightings_of_course_member", "sightings", ["entity", "course_member_id"])
    op.create_table(
        "checks",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("entity", sa.String(length=64), nullable=True),
        sa.Column("begun_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("since", Instant(), nullable=True),
        sa.Column("reached", Instant(), nullable=True),
        sa.Column("pages", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("news", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("checks_of_kind", "checks", ["kind", "entity", "begun_at"])
    # Not as a batch, which makes the table anew: others point at its rows.
    op.add_column(
        "actions", sa.Column("asked", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_index("events_happened", "events", ["happened_at"])


def downgrade() -> None:
    op.drop_index("events_happened", "events")
    op.drop_column("actions", "asked")
    op.drop_table("checks")
    op.drop_table("sightings")
