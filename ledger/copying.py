"""Copies all rows of one ledger into another, between any two engines, exactly as they are."""

from sqlalchemy import JSON, Connection, MetaData, delete, func, insert, select, text

from ledger.controls import client_id_of
from ledger.tables import metadata
from schemas.errors import LedgerUnavailable

_LOG = "control_log"
_AT_ONCE = 1_000  # rows in memory at the same time


def _exact_tables() -> MetaData:
    """Return our tables, with None in a JSON column stored as NULL, as it is when left out."""
    exact = MetaData()
    for table in metadata.sorted_tables:
        for column in table.to_metadata(exact).columns:
            if isinstance(column.type, JSON):
                column.type = JSON(none_as_null=True)
    return exact


_EXACT = _exact_tables()
_TABLES = _EXACT.sorted_tables
# What says that a ledger was in use; the other tables have rows from the beginning.
_EVIDENCE = ("deliveries", "notifications", "lookups", "records", "events", "people")


def copy_ledger(source: Connection, target: Connection) -> dict[str, int]:
    """Replace all rows of `target` with those of `source`; return how many each table has.

    Both have the same tables. The caller's transactions decide which state is copied, and whether
    the copy stays.

    Raises:
        LedgerUnavailable: the copy does not have as many rows as the original.
    """
    for table in reversed(_TABLES):
        target.execute(delete(table))
    copied = {}
    for table in _TABLES:
        rows = source.execute(select(table).execution_options(yield_per=_AT_ONCE)).mappings()
        copied[table.name] = 0
        for some in rows.partitions():
            target.execute(insert(table), [dict(row) for row in some])
            copied[table.name] += len(some)
        arrived = target.scalar(select(func.count()).select_from(table))
        if arrived != copied[table.name]:
            raise LedgerUnavailable(
                f"the table {table.name} has {copied[table.name]} rows, and its copy {arrived}"
            )
    if target.dialect.name == "postgresql":
        _continue_numbering(target)
    return copied


def was_used(connection: Connection) -> bool:
    """Return whether a ledger holds anything that its owner might miss."""
    tables = [table for table in _TABLES if table.name in _EVIDENCE]
    return any(connection.execute(select(table).limit(1)).first() for table in tables)


def row_counts(connection: Connection) -> dict[str, int]:
    """Return how many rows each table has."""
    return {
        table.name: connection.scalar(select(func.count()).select_from(table)) or 0
        for table in _TABLES
    }


def is_unchanged_copy(source: Connection, target: Connection) -> bool:
    """Return whether `target` is a copy of `source` that was logged, and neither was used since."""
    here, there = row_counts(source), row_counts(target)
    here[_LOG] += 1
    beats = _EXACT.tables["heartbeats"]
    last = [one.scalar(select(func.max(beats.c.beat_at))) for one in (source, target)]
    is_same = client_id_of(source) == client_id_of(target)
    return here == there and last[0] == last[1] and is_same


def _continue_numbering(connection: Connection) -> None:
    """Let PostgreSQL number new rows after those that were copied with their ids."""
    for table in _TABLES:
        column = table.autoincrement_column
        if column is None:
            continue
        largest = connection.scalar(select(func.max(column)))
        sequence = {"table": table.name, "column": column.name}
        connection.execute(
            text("SELECT setval(pg_get_serial_sequence(:table, :column), :next, false)"),
            sequence | {"next": (largest or 0) + 1},
        )
