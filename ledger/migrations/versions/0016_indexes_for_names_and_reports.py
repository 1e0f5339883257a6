"""Indexes that have all that a search by name and the count of reports read.

Reads notifications and records once, and cuts names of more than 200 characters; nothing else
changes.

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
    # PostgreSQL refuses index entries of 2,700 bytes.
    op.execute(
        "UPDATE records SET full_name = substr(full_name, 1, 200) WHERE length(full_name) > 200"
    )
    columns = ["entity", "coworker_id", "full_name", "gone_at"]
    op.create_index(
        "records_named", "records", columns, sqlite_where=_NAMED, postgresql_where=_NAMED
    )


def downgrade() -> None:
    op.drop_index("records_named", table_name="records")
    op.drop_index("notifications_of_record", table_name="notifications")
    op.create_index("notifications_of_record", "notifications", ["entity", "record_id", "id"])
