"""Whom an action is to, if it is not the member it is about.

Revision ID: 0023
Revises: 0022
"""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None
# Older code would send to the member what is to others.
oldest_code = "0023"


def upgrade() -> None:
    op.add_column("actions", sa.Column("audience", sa.String(64), nullable=True))


def downgrade() -> None:
    op.execute(
        "UPDATE actions SET state = 'skipped', reason = 'kind-off',"
        " finished_at = CURRENT_TIMESTAMP WHERE audience IS NOT NULL"
        " AND state IN ('planned', 'waiting', 'held')"
    )
    op.drop_column("actions", "audience")
