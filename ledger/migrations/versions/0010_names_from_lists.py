"""The names of members as lists show them, for those who were never read by their Id.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
oldest_code = "0007"


def upgrade() -> None:
    op.add_column("sightings", sa.Column("full_name", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("sightings", "full_name")
