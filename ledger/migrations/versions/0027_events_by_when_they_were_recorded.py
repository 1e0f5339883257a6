"""Indexes for digests and summaries: the events recorded in one period, of one course or of all.

Revision ID: 0027
Revises: 0026
"""

from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None
# Older code ignores an index, and reads the same rows without one.
oldest_code = "0023"


def upgrade() -> None:
    op.create_index("events_found_on_course", "events", ["course_id", "kind", "found_at"])
    op.create_index("events_found", "events", ["found_at"])
    op.drop_index("events_of_course", "events")


def downgrade() -> None:
    op.create_index("events_of_course", "events", ["course_id", "kind", "happened_at"])
    op.drop_index("events_found", "events")
    op.drop_index("events_found_on_course", "events")
