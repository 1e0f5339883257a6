"""Indexes that find what needs a person, so that `/readyz` reads no whole table.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
oldest_code = "0007"

_ACTIONS = sa.text("state IN ('held', 'unknown', 'failed')")
_LOOKUPS = sa.text("state = 'failed'")


def upgrade() -> None:
    op.create_index(
        "actions_undecided",
        "actions",
        ["state", "reason"],
        sqlite_where=_ACTIONS,
        postgresql_where=_ACTIONS,
    )
    op.create_index(
        "lookups_failed",
        "lookups",
        ["reason"],
        sqlite_where=_LOOKUPS,
        postgresql_where=_LOOKUPS,
    )


def downgrade() -> None:
    op.drop_index("lookups_failed", table_name="lookups")
    op.drop_index("actions_undecided", table_name="actions")
