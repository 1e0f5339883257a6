"""What mail providers report about emails, and the addresses that no email is sent to any more.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant
from ledger.tables.columns import Id

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None
oldest_code = "0023"


def upgrade() -> None:
    op.create_table(
        "sent_emails",
        sa.Column("reference", sa.String(64), primary_key=True, nullable=False),
        sa.Column("action_id", Id, sa.ForeignKey("actions.id"), nullable=False),
        sa.Column("address_hash", sa.String(64), nullable=False),
        sa.Column("sent_at", Instant(), nullable=False),
    )
    op.create_index("ix_sent_emails_action_id", "sent_emails", ["action_id"])
    op.create_index("ix_sent_emails_sent_at", "sent_emails", ["sent_at"])
    op.create_index("sent_emails_to", "sent_emails", ["address_hash", "sent_at"])
    op.create_table(
        "mail_reports",
        sa.Column("id", Id, primary_key=True, autoincrement=True),
        sa.Column("event_key", sa.String(64), nullable=False, unique=True),
        sa.Column("token_hash", sa.String(64), nullable=True, unique=True),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("happened_at", Instant(), nullable=False),
        sa.Column("received_at", Instant(), nullable=False),
        sa.Column("address_hash", sa.String(64), nullable=True),
        sa.Column("reference", sa.String(64), nullable=True),
        sa.Column("message_id", sa.Text(), nullable=True),
        sa.Column("code", sa.String(64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("due_at", Instant(), nullable=False),
        sa.Column("action_id", Id, sa.ForeignKey("actions.id"), nullable=True),
    )
    op.create_index("ix_mail_reports_received_at", "mail_reports", ["received_at"])
    op.create_index("ix_mail_reports_action_id", "mail_reports", ["action_id"])
    pending = sa.text("state = 'pending'")
    op.create_index(
        "mail_reports_pending",
        "mail_reports",
        ["due_at"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_table(
        "suppressions",
        sa.Column("address_hash", sa.String(64), primary_key=True, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("provider", sa.String(64), nullable=False),
        sa.Column("code", sa.String(64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("lifted_at", Instant(), nullable=True),
    )


def downgrade() -> None:
    op.drop_table("suppressions")
    op.drop_table("mail_reports")
    op.drop_table("sent_emails")
