"""Indexes that have all that a search by name and the count of reports read.

Reads notifications and records once; nothing else changes.

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
oldest_code = "0013"

_NAMED = sa.text("full_name IS NOT NULL")


def upgrade() -> None:
    op.drop_index("notifications_of_record", table_name="notifications")
    columns = ["entity", "record_id", "id", "origin"]
    op.create_index("notifications_of_record", "notifications", columns)
    columns = ["entity", "coworker_id", "full_name", "gone_at"]
    op.create_index(
        "records_named", "records", columns, sqlite_where=_NAMED, postgresql_where=_NAMED
    )


def downgrade() -> None:
    op.drop_index("records_named", table_name="records")
    op.drop_index("notifications_of_record", table_name="notifications")
    op.create_index("notifications_of_record", "notifications", ["entity", "record_id", "id"])
