"""The ledger on both engines: every test that asks for it runs on SQLite and on PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.engine import Engine, open_engine
from ledger.migrate import migrate


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Lead to a database without a table, that this test has for itself."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres_database_url")
    return url


@pytest.fixture
def ledger_url(empty_database_url: str) -> str:
    """Lead to a migrated ledger, for tests that start processes of their own."""
    engine = open_engine(empty_database_url)
    migrate(engine)
    engine.dispose()
    return empty_database_url


@pytest.fixture
def ledger_engine(ledger_url: str) -> Iterator[Engine]:
    """Give a migrated ledger."""
    engine = open_engine(ledger_url)
    yield engine
    engine.dispose()
