"""Which email a person had sent again by which other.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
oldest_code = "0007"


def upgrade() -> None:
    op.add_column("actions", sa.Column("resend_of", sa.BigInteger(), nullable=True))
    op.create_index("actions_resend_of", "actions", ["resend_of"], unique=True)


def downgrade() -> None:
    op.drop_index("actions_resend_of", table_name="actions")
    op.drop_column("actions", "resend_of")
