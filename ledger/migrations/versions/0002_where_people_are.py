"""Where people are, and up to what news a record was decided on.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
oldest_code = "0002"


def upgrade() -> None:
    with op.batch_alter_table("people") as people:
        people.add_column(sa.Column("zone", sa.String(length=64), nullable=True))
    with op.batch_alter_table("snapshots") as snapshots:
        snapshots.add_column(sa.Column("decided_upto", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("snapshots") as snapshots:
        snapshots.drop_column("decided_upto")
    with op.batch_alter_table("people") as people:
        people.drop_column("zone")
