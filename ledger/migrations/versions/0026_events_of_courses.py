"""An index for digests: the events of one course in one period.

Revision ID: 0026
Revises: 0025
"""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
# Older code ignores an index.
oldest_code = "0023"


def upgrade() -> None:
    op.create_index("events_of_course", "events", ["course_id", "kind", "happened_at"])


def downgrade() -> None:
    op.drop_index("events_of_course", "events")
