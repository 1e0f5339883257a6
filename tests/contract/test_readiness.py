"""`/readyz` writes nothing, knows whether the ledger is writable, and hides error texts."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from ledger.checks import CheckKind, begin_check, fail_check
from ledger.engine import Engine, check_writable, open_engine, writing
from ledger.lookups import postpone_lookup
from ledger.migrate import migrate
from ledger.tables import leases, metadata
from schemas.entity import Entity
from schemas.errors import LedgerUnavailable
from schemas.reasons import Reason
from schemas.settings import load_settings
from service.readiness import readiness, web_readiness
from tests.contract.ledger_rig import NOW, arrival, at, claim, keep, rows
from tests.servers.ready_ledgers import sqlite_copy

ERROR = "the source answered 403 to an address of ours"


def parts(engine: Engine, *, with_errors: bool) -> dict[str, str]:
    return readiness(load_settings({}), engine, at(7200), with_errors=with_errors)


def source_refuses_us(engine: Engine) -> None:
    keep(engine, arrival(7))
    [lookup] = claim(engine)
    with writing(engine) as connection:
        postpone_lookup(connection, lookup, at(9000), Reason.NEXUDUS_REFUSED, ERROR)
        run = begin_check(connection, CheckKind.CHECK, Entity.COURSE_MEMBER, NOW)
        fail_check(connection, run.check_id, Reason.NEXUDUS_REFUSED, ERROR)


def test_unauthenticated_answers_name_problems_without_error_texts(ledger_engine: Engine) -> None:
    source_refuses_us(ledger_engine)
    public, operator = (parts(ledger_engine, with_errors=one) for one in (False, True))
    for name in ("nexudus", "check"):
        assert public[name] != "ok"
        assert ERROR in operator[name]
    assert ERROR not in str(public)


def test_asking_for_readiness_writes_nothing(ledger_engine: Engine) -> None:
    def everything() -> list[object]:
        return [rows(ledger_engine, table) for table in metadata.sorted_tables]

    source_refuses_us(ledger_engine)
    before = everything()
    assert parts(ledger_engine, with_errors=False)["ledger"] == "ok"
    assert web_readiness(ledger_engine) == {"ledger": "ok"}
    assert everything() == before
    assert rows(ledger_engine, leases) == []


def test_a_ledger_that_another_writer_holds_is_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    sqlite_copy(path)
    engine = open_engine(f"sqlite:///{path}", busy_timeout_ms=10)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable):
            check_writable(engine)
        assert "cannot be read or written now" in web_readiness(engine)["ledger"]
        assert "the log has the reason" in parts(engine, with_errors=False)["ledger"]
        assert "SQLITE_BUSY" in parts(engine, with_errors=True)["ledger"]
    assert web_readiness(engine) == {"ledger": "ok"}
    engine.dispose()


@pytest.mark.postgres
def test_a_server_that_accepts_no_writes_is_not_ready(postgres_database_url: str) -> None:
    first = open_engine(postgres_database_url)
    migrate(first)
    check_writable(first)
    with writing(first) as connection:
        name = connection.scalar(text("SELECT current_database()"))
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    first.dispose()
    engine = open_engine(postgres_database_url)
    with pytest.raises(LedgerUnavailable, match="only allows reading"):
        check_writable(engine)
    engine.dispose()
