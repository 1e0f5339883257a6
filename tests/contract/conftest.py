"""The ledger on both engines: every test that asks for it runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from ledger.engine import Engine, open_engine
from tests.servers.postgres import Databases
from tests.servers.ready_ledgers import migrated, sqlite_copy


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Lead to a database without a table, that this test has for itself."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres_database_url")
    return url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Lead to a migrated ledger, for tests that start processes of their own."""
    if request.param == "sqlite":
        yield sqlite_copy(tmp_path / "ledger.db")
        return
    databases: Databases = request.getfixturevalue("databases")
    name, url = databases.create(request.getfixturevalue("postgres_template"))
    yield url
    databases.drop(name)


@pytest.fixture(scope="session")
def postgres_template(databases: Databases) -> Iterator[str]:
    """Name a migrated database that others are copies of."""
    name, url = databases.create()
    migrated(url)
    yield name
    databases.drop(name)


@pytest.fixture
def ledger_engine(ledger_url: str) -> Iterator[Engine]:
    """Give a migrated ledger."""
    engine = open_engine(ledger_url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _be_quick)
    yield engine
    engine.dispose()


def _be_quick(connection: Any, _: object) -> None:  # noqa: ANN401 - a driver's connection
    # These tests are not about power cuts; tests/contract/test_ledger_engine.py is.
    connection.execute("PRAGMA synchronous = OFF")
