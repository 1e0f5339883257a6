"""Write many rows at once: set-based statements, while indexes and other checks are absent."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    text,
)

from ledger.engine import Engine, writing
from ledger.tables import (
    actions,
    attempts,
    checks,
    deliveries,
    events,
    lookups,
    notifications,
    tallies,
)

_NUMBERED = (deliveries, notifications, lookups, events, actions, attempts, checks)
# What is created again after the rows: name, the statement that drops it, the one that creates it.
_SQLITE = """
SELECT 'DROP ' || type || ' ' || name, sql FROM sqlite_master
WHERE type IN ('index', 'trigger') AND sql IS NOT NULL ORDER BY type, name
"""
_POSTGRESQL = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname),
  format('ALTER TABLE %s ADD CONSTRAINT %I %s', conrelid::regclass, conname,
    pg_get_constraintdef(oid))
FROM pg_constraint WHERE contype = 'f' AND connamespace = current_schema()::regnamespace
UNION ALL
SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = current_schema()::regnamespace
  AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid)
"""


@contextmanager
def filling(engine: Engine) -> Iterator[Connection]:
    """Yield a connection to fill empty tables with, in one transaction.

    Indexes, foreign keys of PostgreSQL and triggers of SQLite are dropped, and created again at the
    end: so the work is done for all rows at once.
    """
    with writing(engine) as connection:
        is_sqlite = connection.dialect.name == "sqlite"
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA cache_size = -500000")
        else:
            connection.execute(text("SET LOCAL maintenance_work_mem = '256MB'"))
        absent = [
            tuple(row) for row in connection.execute(text(_SQLITE if is_sqlite else _POSTGRESQL))
        ]
        for drop, _ in absent:
            connection.exec_driver_sql(drop)
        yield connection
        for _, create in absent:
            connection.exec_driver_sql(create)
        if is_sqlite:
            _count_rows(connection)
        else:
            _set_next_ids(connection)
            connection.execute(text("ANALYZE"))  # as the server does by itself


def numbers(upto: int) -> CTE:
    """Return the numbers from 0 on and before `upto`, as column `n`."""
    first = select(cast(literal(0), BigInteger).label("n")).where(literal(upto) > 0)
    found = first.cte(recursive=True)
    return found.union_all(select(found.c.n + 1).where(found.c.n + 1 < upto))


def instant(connection: Connection, epoch_s: ColumnElement[int]) -> ColumnElement[Any]:
    """Return a time, given in seconds, as the ledger stores it."""
    if connection.dialect.name == "sqlite":
        return func.strftime("%Y-%m-%d %H:%M:%S.000000", epoch_s, "unixepoch")
    return func.to_timestamp(epoch_s)


def insert_all(connection: Connection, table: Table, rows: Iterable[Mapping[str, object]]) -> None:
    """Insert rows with the same keys, past SQLAlchemy, which takes longer than the database."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        return
    names = ", ".join(first)
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        statement = f"INSERT INTO {table.name} ({names}) VALUES ({', '.join('?' * len(first))})"  # noqa: S608 - our own names
        driver.execute(statement, _as_text(first))
        driver.executemany(statement, map(_as_text, rows))
        return
    with driver.cursor().copy(f"COPY {table.name} ({names}) FROM STDIN") as copy:
        copy.write_row(tuple(first.values()))
        for row in rows:
            copy.write_row(tuple(row.values()))


def _as_text(row: Mapping[str, object]) -> list[object]:
    """Return the values with times as SQLAlchemy stores them in SQLite."""
    return [
        value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        if isinstance(value, datetime)
        else value
        for value in row.values()
    ]


def _count_rows(connection: Connection) -> None:
    """Store the totals that triggers of SQLite would have kept row by row."""
    unreadable = case((deliveries.c.error.is_not(None), "unreadable"), else_="")
    counted: dict[Table, tuple[ColumnElement[str], ColumnElement[str]]] = {
        deliveries: (unreadable, literal("")),
        notifications: (literal(""), literal("")),
        events: (literal(""), func.coalesce(events.c.reason, "")),
        lookups: (lookups.c.state, func.coalesce(lookups.c.reason, "")),
        actions: (actions.c.state, func.coalesce(actions.c.reason, "")),
    }
    connection.execute(tallies.delete())
    for table, by in counted.items():
        state, reason = (
            column.label(name) for name, column in zip(("state", "reason"), by, strict=True)
        )
        rows = select(literal(table.name), state, reason, func.count()).select_from(table)
        into = insert(tallies).from_select(
            ["name", "state", "reason", "number"], rows.group_by("state", "reason")
        )
        connection.execute(into)


def _set_next_ids(connection: Connection) -> None:
    for table in _NUMBERED:
        newest = select(func.max(table.c.id)).scalar_subquery()
        sequence = func.pg_get_serial_sequence(table.name, "id")
        connection.execute(select(func.setval(sequence, newest)))
