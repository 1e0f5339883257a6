"""A ledger of an older version keeps every row when it is brought up to date.

What is filled is read from the database itself, so that each table of that time takes part.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Column, MetaData, Table, select

from ledger.engine import Engine, open_engine, reading, writing
from ledger.migrate import current_revision, differences, migrate, newest_revision
from tests.contract.ledger_rig import ROOT

MOMENT = datetime(2026, 5, 4, 9, 30, 0, 123_456, tzinfo=UTC)
SINCE_0001: dict[str, dict[str, object]] = {
    "people": {"zone": None},
    "snapshots": {"decided_upto": None},
    "actions": {"asked": False},
}
NEW_TABLES = ("checks", "sightings")


def step(engine: Engine, direction: str, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "ledger" / "migrations"))
    with writing(engine) as connection:
        config.attributes["connection"] = connection
        getattr(command, direction)(config, revision)


def tables_of(engine: Engine) -> dict[str, Table]:
    found = MetaData()
    with reading(engine) as connection:
        found.reflect(connection)
    return {table.name: table for table in found.sorted_tables if table.name != "alembic_version"}


def something(column: Column[Any]) -> object:
    kind = column.type.python_type
    if kind is datetime:
        is_zoned = getattr(column.type, "timezone", False)
        return MOMENT if is_zoned else MOMENT.replace(tzinfo=None)
    values: dict[type, object] = {int: 1, str: "Zoë 🔔", bytes: b"[\x00\xff]", bool: True}
    return values.get(kind, {"Id": 2**63 - 1})


def fill(engine: Engine) -> None:
    tables = tables_of(engine)
    with writing(engine) as connection:
        for table in tables.values():
            row = {column.name: something(column) for column in table.columns}
            connection.execute(table.insert().values(row))


def rows_of(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    tables = tables_of(engine)
    with reading(engine) as connection:
        return {
            name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for name, table in tables.items()
        }


@pytest.fixture
def first_ledger(empty_database_url: str) -> Iterator[Engine]:
    """Give a ledger of the first version, with a row in every table."""
    engine = open_engine(empty_database_url)
    step(engine, "upgrade", "0001")
    fill(engine)
    yield engine
    engine.dispose()


def test_bringing_a_filled_ledger_up_to_date_keeps_every_row(first_ledger: Engine) -> None:
    before = rows_of(first_ledger)
    assert len(before) > 10
    assert {len(rows) for rows in before.values()} == {1}
    assert migrate(first_ledger) == current_revision(first_ledger) == newest_revision()
    assert differences(first_ledger) == []
    after = rows_of(first_ledger)
    expected = {
        name: [row | SINCE_0001.get(name, {}) for row in rows] for name, rows in before.items()
    }
    assert after == expected | {name: [] for name in NEW_TABLES}


def test_going_back_a_version_takes_only_what_that_version_brought(first_ledger: Engine) -> None:
    before = rows_of(first_ledger)
    migrate(first_ledger)
    step(first_ledger, "downgrade", "0001")
    assert rows_of(first_ledger) == before
    assert current_revision(first_ledger) == "0001"
