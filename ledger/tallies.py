"""Totals of the tables that grow, which the database keeps (migration 0014).

Triggers keep them within the transaction that changes a row, whichever code changes it. SQLite adds
to one row for each state and reason. PostgreSQL appends, so that no transaction waits for another,
and `fold_tallies` merges.
"""

from typing import Any

from sqlalchemy import Connection, Table, func, select, text

from ledger.tables import tallies

_FOLD = """
WITH gone AS (DELETE FROM tallies RETURNING name, state, reason, number)
INSERT INTO tallies (name, state, reason, number)
SELECT name, state, reason, sum(number) FROM gone GROUP BY 1, 2, 3 HAVING sum(number) <> 0
"""

_KEPT = {  # the changes of each table that a trigger counts
    "deliveries": ("insert", "delete"),
    "notifications": ("insert", "delete"),
    "events": ("insert", "delete", "update"),
    "lookups": ("insert", "delete", "update"),
    "actions": ("insert", "delete", "update"),
}
_TRIGGERS = {
    "sqlite": "SELECT tbl_name, name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal",
}

Tally = dict[str, dict[str, int]]  # numbers by state, then by reason ("" for none)


def tallies_of(connection: Connection, *tables: Table) -> dict[str, Tally]:
    """Return the number of rows of these tables, by table, state and reason; without zeros."""
    number: Any = func.sum(tallies.c.number)
    rows = connection.execute(
        select(tallies.c.name, tallies.c.state, tallies.c.reason, number.label("number"))
        .where(tallies.c.name.in_([table.name for table in tables]))
        .group_by(tallies.c.name, tallies.c.state, tallies.c.reason)
        .having(number != 0)
    )
    found: dict[str, Tally] = {table.name: {} for table in tables}
    for row in rows:
        found[row.name].setdefault(row.state, {})[row.reason] = int(row.number)
    return found


def fold_tallies(connection: Connection) -> None:
    """Merge the rows that PostgreSQL appended. Call it every few seconds."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(_FOLD))


def missing_triggers(connection: Connection) -> set[tuple[str, str]]:
    """Return the triggers that should keep the totals and do not exist: table and name."""
    wanted = {
        (table, f"tally_{table}_{change}") for table, changes in _KEPT.items() for change in changes
    }
    rows = connection.exec_driver_sql(_TRIGGERS[connection.dialect.name])
    return wanted - {(table, name) for table, name in rows}
