"""Names and addresses in the form in which a search compares them.

Reads and writes each person and each enrolment with a name once, in one transaction; nothing else
changes.

Revision ID: 0033
Revises: 0032
"""

import sqlalchemy as sa
from alembic import op

from schemas.text import searched

revision = "0033"
down_revision = "0032"
branch_labels = None
depends_on = None
oldest_code = "0033"  # older code would store people whom no search finds

_NAMED = sa.text("full_name IS NOT NULL")
_LONGEST_NAME_KEY = 200  # characters
_BEFORE = ["entity", "coworker_id", "full_name", "gone_at"]
_AFTER = ["entity", "coworker_id", "name_key", "full_name", "gone_at"]


def upgrade() -> None:
    op.drop_index("records_named", table_name="records")
    op.add_column("people", sa.Column("search_key", sa.Text(), nullable=True))
    op.add_column("records", sa.Column("name_key", sa.Text(), nullable=True))
    _fill_people(op.get_bind())
    _fill_records(op.get_bind())
    _create(_AFTER)


def downgrade() -> None:
    op.drop_index("records_named", table_name="records")
    op.drop_column("records", "name_key")
    op.drop_column("people", "search_key")
    _create(_BEFORE)


def _fill_people(connection: sa.Connection) -> None:
    found = []
    for row in connection.execute(sa.text("SELECT coworker_id, full_name, email FROM people")):
        local, _, domain = searched(row.email).rpartition("@")
        key = f"{searched(row.full_name)}\n{local}@{domain}"
        found.append({"which": row.coworker_id, "key": key})
    if found:
        connection.execute(
            sa.text("UPDATE people SET search_key = :key WHERE coworker_id = :which"), found
        )


def _fill_records(connection: sa.Connection) -> None:
    wanted = "SELECT entity, record_id, full_name FROM records WHERE full_name IS NOT NULL"
    found = []
    for row in connection.execute(sa.text(wanted)):
        key = searched(row.full_name)[:_LONGEST_NAME_KEY]
        found.append({"entity": row.entity, "which": row.record_id, "key": key})
    if found:
        connection.execute(
            sa.text(
                "UPDATE records SET name_key = :key WHERE entity = :entity AND record_id = :which"
            ),
            found,
        )


def _create(columns: list[str]) -> None:
    op.create_index(
        "records_named", "records", columns, sqlite_where=_NAMED, postgresql_where=_NAMED
    )
