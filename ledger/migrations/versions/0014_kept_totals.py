"""Totals that the database keeps with triggers, so that no command counts whole tables.

Counts five tables once; until that is committed, nothing else can write to them.

Revision ID: 0014
Revises: 0013
"""

# ruff: noqa: S608 - every name in a statement is our own

from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
oldest_code = "0013"

# By which state and reason the rows of each table are counted.
_COUNTED = {
    "deliveries": ("CASE WHEN {row}.error IS NULL THEN '' ELSE 'unreadable' END", "''"),
    "notifications": ("''", "''"),
    "events": ("''", "coalesce({row}.reason, '')"),
    "lookups": ("{row}.state", "coalesce({row}.reason, '')"),
    "actions": ("{row}.state", "coalesce({row}.reason, '')"),
}
_CHANGING = ("events", "lookups", "actions")  # the others never change what they are counted by
_INTO = "INSERT INTO tallies (name, state, reason, number)"


def upgrade() -> None:
    op.create_table(
        "tallies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("state", sa.String(64), nullable=False),
        sa.Column("reason", sa.String(64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.create_index("tallies_of", "tallies", ["name", "state", "reason"])
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _COUNTED:
        # Before the count: on PostgreSQL this locks the table against changes meanwhile.
        for statement in _sqlite(table) if is_sqlite else _postgresql(table):
            op.execute(statement)
    for table in _COUNTED:
        state, reason = _counted_by(table, table)
        op.execute(
            f"{_INTO} SELECT '{table}', {state}, {reason}, count(*) FROM {table} GROUP BY 2, 3"
        )


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _COUNTED:
        for change in ("insert", "delete", "update"):
            name = f"tally_{table}_{change}"
            on = "" if is_sqlite else f" ON {table}"
            op.execute(f"DROP TRIGGER IF EXISTS {name}{on}")
            if not is_sqlite:
                op.execute(f"DROP FUNCTION IF EXISTS {name}()")
    op.drop_index("tallies_of", table_name="tallies")
    op.drop_table("tallies")


def _counted_by(table: str, row: str) -> tuple[str, str]:
    state, reason = _COUNTED[table]
    return state.format(row=row), reason.format(row=row)


def _sqlite(table: str) -> Iterator[str]:
    """Yield triggers that add to the one row of a state and reason: there is one writer only."""
    added, removed = _sqlite_step(table, "NEW", 1), _sqlite_step(table, "OLD", -1)
    yield f"CREATE TRIGGER tally_{table}_insert AFTER INSERT ON {table} BEGIN {added} END"
    yield f"CREATE TRIGGER tally_{table}_delete AFTER DELETE ON {table} BEGIN {removed} END"
    if table in _CHANGING:
        old, new = (_counted_by(table, row) for row in ("OLD", "NEW"))
        is_other = f"{old[0]} <> {new[0]} OR {old[1]} <> {new[1]}"
        yield (
            f"CREATE TRIGGER tally_{table}_update AFTER UPDATE ON {table} WHEN {is_other}"
            f" BEGIN {removed} {added} END"
        )


def _sqlite_step(table: str, row: str, number: int) -> str:
    state, reason = _counted_by(table, row)
    is_it = f"name = '{table}' AND state = {state} AND reason = {reason}"
    there = f"SELECT 1 FROM tallies WHERE {is_it}"
    return (
        f"{_INTO} SELECT '{table}', {state}, {reason}, 0 WHERE NOT EXISTS ({there});"
        f" UPDATE tallies SET number = number + {number} WHERE {is_it};"
    )


def _postgresql(table: str) -> Iterator[str]:
    """Yield triggers that append a row for each statement, so that no transaction waits."""
    rows = {"insert": ("new_rows",), "delete": ("old_rows",), "update": ("new_rows", "old_rows")}
    for change in ("insert", "delete", *(["update"] if table in _CHANGING else [])):
        name = f"tally_{table}_{change}"
        changed = " UNION ALL ".join(_signed(table, of) for of in rows[change])
        tables = " ".join(f"{of[:3].upper()} TABLE AS {of}" for of in rows[change])
        yield (
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {_INTO}"
            f" SELECT '{table}', state, reason, sum(number) FROM ({changed}) AS changed"
            " GROUP BY state, reason HAVING sum(number) <> 0; RETURN NULL; END $$"
        )
        yield (
            f"CREATE TRIGGER {name} AFTER {change.upper()} ON {table} REFERENCING {tables}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {name}()"
        )


def _signed(table: str, of: str) -> str:
    state, reason = _counted_by(table, "one")
    sign = 1 if of == "new_rows" else -1
    return f"SELECT {state} AS state, {reason} AS reason, {sign} AS number FROM {of} AS one"
