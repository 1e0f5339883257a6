"""The portal account of each person, the language they chose there, and when that was read.

Revision ID: 0020
Revises: 0019
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None
oldest_code = "0017"


def upgrade() -> None:
    op.add_column("people", sa.Column("user_id", sa.BigInteger(), nullable=True))
    op.add_column("people", sa.Column("language", sa.String(64), nullable=True))
    op.add_column("people", sa.Column("language_at", Instant(), nullable=True))


def downgrade() -> None:
    op.drop_column("people", "language_at")
    op.drop_column("people", "language")
    op.drop_column("people", "user_id")
