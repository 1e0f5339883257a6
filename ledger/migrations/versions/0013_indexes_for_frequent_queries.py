"""Indexes for the frequent queries, and the source's time of creation as a column of records.

Reads each table with a new index once, and writes one column of each record that has a creation
time, in one transaction; nothing else changes. `docs/running-it.md` says how long that takes.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

from ledger.tables import Instant

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
oldest_code = "0013"  # older code would store records without their time of creation

_UNFINISHED = "state IN ('due', 'waiting', 'leased')"
# Name, table, columns and condition of each new index.
_PARTIAL = (
    ("lookups_due", "lookups", ["due_at"], "state = 'due'"),
    ("lookups_leased", "lookups", ["lease_until"], "state = 'leased'"),
    ("lookups_waiting", "lookups", ["due_at"], "state = 'waiting'"),
    ("lookups_waiting_for", "lookups", ["reason", "due_at"], "state = 'waiting'"),
    ("lookups_waiting_since", "lookups", ["reason", "asked_at"], "state = 'waiting'"),
    ("actions_due_of_kind", "actions", ["kind", "due_at"], "state IN ('planned', 'waiting')"),
    ("actions_waiting", "actions", ["reason", "due_at"], "state = 'waiting'"),
    ("actions_performing", "actions", ["lease_until"], "state = 'performing'"),
    ("deliveries_unreadable", "deliveries", ["received_at"], "error IS NOT NULL"),
    ("deliveries_by_relay", "deliveries", ["received_at"], "signature_form = 'bearer'"),
    ("checks_open", "checks", ["kind", "entity"], "ended_at IS NULL"),
)
_WHOLE = (
    ("ix_notifications_received_at", "notifications", ["received_at"]),
    ("notifications_of_record", "notifications", ["entity", "record_id", "id"]),
    ("actions_happened", "actions", ["happened_at"]),
    ("ix_copies_written_at", "copies", ["written_at"]),
    ("checks_newest", "checks", ["kind", "entity", "id"]),
    ("records_source_created", "records", ["entity", "source_created_at"]),
)
# The stored text is ISO 8601 in UTC, with a fraction of six digits or none.
_SOURCE_CREATED_AT = {
    "postgresql": "(record ->> 'CreatedOn')::timestamptz",
    "sqlite": (
        "replace(substr(json_extract(record, '$.CreatedOn'), 1, 19), 'T', ' ') ||"
        " CASE WHEN substr(json_extract(record, '$.CreatedOn'), 20, 1) = '.'"
        " THEN substr(json_extract(record, '$.CreatedOn'), 20, 7) ELSE '.000000' END"
    ),
}
_DATED = "entity IN ('CourseMember', 'CompletedLesson')"  # only these have a time of creation


def upgrade() -> None:
    op.drop_index("lookups_due", table_name="lookups")
    op.drop_index("notifications_of_record", table_name="notifications")
    op.add_column("records", sa.Column("source_created_at", Instant(), nullable=True))
    value = _SOURCE_CREATED_AT[op.get_bind().dialect.name]
    op.execute(
        f"UPDATE records SET source_created_at = {value} WHERE record IS NOT NULL AND {_DATED}"  # noqa: S608 - our own names
    )
    for name, table, columns, condition in _PARTIAL:
        _create(name, table, columns, condition)
    for name, table, columns in _WHOLE:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in _WHOLE:
        op.drop_index(name, table_name=table)
    for name, table, *_ in _PARTIAL:
        op.drop_index(name, table_name=table)
    op.drop_column("records", "source_created_at")
    op.create_index("notifications_of_record", "notifications", ["entity", "record_id"])
    _create("lookups_due", "lookups", ["due_at"], _UNFINISHED)


def _create(name: str, table: str, columns: list[str], condition: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, columns, sqlite_where=where, postgresql_where=where)
