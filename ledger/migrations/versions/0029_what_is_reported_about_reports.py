"""What mail providers report about alerts, summaries and digests, and when these were finished.

Revision ID: 0029
Revises: 0028
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables.columns import Id

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None
# Older code finds no email for what is reported about these, as before.
oldest_code = "0023"

_TABLES = ("sent_emails", "mail_reports")


def upgrade() -> None:
    for table in _TABLES:
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("report_id", Id, nullable=True))
            batch.create_foreign_key(f"{table}_report", "reports", ["report_id"], ["id"])
            if table == "sent_emails":
                batch.alter_column("action_id", nullable=True, existing_type=Id)
        op.create_index(f"ix_{table}_report_id", table, ["report_id"])
    op.create_index("reports_finished", "reports", ["finished_at"])


def downgrade() -> None:
    op.drop_index("reports_finished", "reports")
    op.execute("DELETE FROM sent_emails WHERE action_id IS NULL")
    for table in _TABLES:
        op.drop_index(f"ix_{table}_report_id", table)
        with op.batch_alter_table(table) as batch:
            batch.drop_column("report_id")
            if table == "sent_emails":
                batch.alter_column("action_id", nullable=False, existing_type=Id)
