"""PostgreSQL behind a transaction pooler: the ledger keeps nothing in a session."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Connection, Engine, open_engine, reading, writing
from ledger.lookups import claim_lookups
from ledger.migrate import migrate
from ledger.tables import deliveries, lookups
from ledger.upgrade import differences
from tests.contract.ledger_rig import LEASE_S, NOW, arrival, at_once, keep, rows
from tests.servers.pooler import pgbouncer, pgbouncer_found, stand_in
from tests.servers.postgres import address

pytestmark = pytest.mark.postgres

Opened = Callable[[Engine], AbstractContextManager[Connection]]
WITHOUT = "PgBouncer is not installed here; its stand-in is tested."


@pytest.fixture(params=["stand-in", "pgbouncer"])
def pooled(
    request: pytest.FixtureRequest, postgres_database_url: str, tmp_path: Path
) -> Iterator[str]:
    """Lead through a pooler to an empty database."""
    if request.param == "stand-in":
        with stand_in(postgres_database_url) as pooler:
            yield pooler.url
            assert pooler.left_behind() == set()
        return
    if pgbouncer_found() is None:
        pytest.skip(WITHOUT)
    with pgbouncer(postgres_database_url, tmp_path) as url:
        yield url


def test_many_clients_share_few_connections(pooled: str) -> None:
    engine = open_engine(pooled)
    migrate(engine)
    assert differences(engine) == []

    def work(number: int) -> None:
        # More often than it takes the driver to prepare a statement by itself.
        for turn in range(8):
            keep(engine, *[arrival(1000 * number + turn, one) for one in range(20)])
            assert rows(engine, lookups)
            with writing(engine) as connection:
                claim_lookups(connection, NOW, SYSTEM_CLOCK.new_id(), lease_s=LEASE_S, most=2)

    at_once(6, work)
    assert len(rows(engine, deliveries)) == 6 * 8 * 20
    engine.dispose()


@pytest.mark.parametrize("opened", [reading, writing])
def test_waiting_is_limited_in_each_transaction(pooled: str, opened: Opened) -> None:
    engine = open_engine(pooled)
    for _ in range(6):
        with opened(engine) as connection:
            limits = connection.execute(
                text(
                    "SELECT current_setting('lock_timeout'),"
                    " current_setting('idle_in_transaction_session_timeout')"
                )
            ).one()
            assert tuple(limits) == ("20s", "1min")
    engine.dispose()


def test_the_stand_in_shows_what_is_left_behind_in_a_session(postgres_database_url: str) -> None:
    with stand_in(postgres_database_url) as pooler:
        url = address(pooler.url)
        prepared = psycopg.connect(url, autocommit=True, prepare_threshold=0)
        with prepared, pytest.raises(psycopg.errors.InvalidSqlStatementName):
            prepared.execute("SELECT %s::int", [1])
        with psycopg.connect(url, autocommit=True) as setting:
            setting.execute("SET lock_timeout = '20s'")
        assert pooler.left_behind() == {b"_pg3_0", b"lock_timeout"}
        with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
            psycopg.connect(url, options="-c lock_timeout=1")
