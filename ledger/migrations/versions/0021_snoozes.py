"""Until when members snooze emails, and how each choice was made.

Revision ID: 0021
Revises: 0020
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None
oldest_code = "0017"


def upgrade() -> None:
    op.add_column("choices", sa.Column("until", Instant(), nullable=True))
    op.add_column("choices", sa.Column("origin", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("choices", "origin")
    op.drop_column("choices", "until")
