"""Timers: events to come, which no change at the source will show.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None
oldest_code = "0017"


def upgrade() -> None:
    op.create_table(
        "timers",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            primary_key=True,
            nullable=False,
        ),
        sa.Column("key", sa.String(160), nullable=False, unique=True),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("step_s", sa.BigInteger(), nullable=True),
        sa.Column("course_id", sa.BigInteger(), nullable=False),
        sa.Column("coworker_id", sa.BigInteger(), nullable=False),
        sa.Column("course_member_id", sa.BigInteger(), nullable=False),
        sa.Column("lesson_id", sa.BigInteger(), nullable=True),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(64), nullable=True),
        sa.Column("made_at", Instant(), nullable=False),
        sa.Column("asked_at", Instant(), nullable=True),
        sa.Column("ended_at", Instant(), nullable=True),
    )
    op.create_index("ix_timers_course_member_id", "timers", ["course_member_id"])
    op.create_index(
        "timers_due",
        "timers",
        ["due_at"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )


def downgrade() -> None:
    op.drop_index("timers_due", "timers")
    op.drop_index("ix_timers_course_member_id", "timers")
    op.drop_table("timers")
