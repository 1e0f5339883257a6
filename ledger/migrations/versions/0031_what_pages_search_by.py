"""Indexes for pages: events by kind, and only those actions that repeat another.

Revision ID: 0031
Revises: 0030
"""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None
# Older code ignores the index.
oldest_code = "0023"

_RARER = sa.text("kind != 'lesson_completed'")
_REPEATING = sa.text("resend_of IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        "events_of_kind",
        "events",
        ["kind", "id"],
        sqlite_where=_RARER,
        postgresql_where=_RARER,
    )
    op.drop_index("actions_resend_of", "actions")
    op.create_index(
        "actions_resend_of",
        "actions",
        ["resend_of"],
        unique=True,
        sqlite_where=_REPEATING,
        postgresql_where=_REPEATING,
    )


def downgrade() -> None:
    op.drop_index("actions_resend_of", "actions")
    op.create_index("actions_resend_of", "actions", ["resend_of"], unique=True)
    op.drop_index("events_of_kind", "events")
