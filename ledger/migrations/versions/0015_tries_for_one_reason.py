"""How often an action was tried while it waited for one reason: one row instead of one a try.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
oldest_code = "0013"


def upgrade() -> None:
    tries = sa.Column("tries", sa.Integer(), server_default=sa.text("1"), nullable=False)
    op.add_column("attempts", tries)


def downgrade() -> None:
    op.drop_column("attempts", "tries")
