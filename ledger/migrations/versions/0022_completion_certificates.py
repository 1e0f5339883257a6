"""Certificates of completion, which anyone who has their code can have confirmed.

Revision ID: 0022
Revises: 0021
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None
oldest_code = "0017"


def upgrade() -> None:
    op.create_table(
        "completion_certificates",
        sa.Column("code_hash", sa.String(64), primary_key=True, nullable=False),
        sa.Column("course_id", sa.BigInteger(), nullable=False),
        sa.Column("coworker_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("course", sa.Text(), nullable=False),
        sa.Column("space", sa.Text(), nullable=True),
        sa.Column("finished_on", sa.Date(), nullable=False),
        sa.Column("language", sa.String(64), nullable=False),
        sa.Column("issued_at", Instant(), nullable=False),
    )
    op.create_index(
        "ix_completion_certificates_coworker_id", "completion_certificates", ["coworker_id"]
    )


def downgrade() -> None:
    op.drop_index("ix_completion_certificates_coworker_id", "completion_certificates")
    op.drop_table("completion_certificates")
