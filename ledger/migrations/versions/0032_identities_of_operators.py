"""Who an operator is at a sign-in provider, and who may connect an account by email address.

Revision ID: 0032
Revises: 0031
"""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None
# Older code knows passwords only, and reads and writes accounts without these columns.
oldest_code = "0023"


def upgrade() -> None:
    op.add_column("operators", sa.Column("issuer", sa.Text(), nullable=True))
    op.add_column("operators", sa.Column("subject", sa.String(255), nullable=True))
    op.add_column("operators", sa.Column("email", sa.String(254), nullable=True))
    op.create_index("operators_identity", "operators", ["issuer", "subject"], unique=True)
    op.create_index("operators_email", "operators", ["email"], unique=True)


def downgrade() -> None:
    op.drop_index("operators_email", "operators")
    op.drop_index("operators_identity", "operators")
    op.drop_column("operators", "email")
    op.drop_column("operators", "subject")
    op.drop_column("operators", "issuer")
