"""How the database is opened: the same promises on both engines."""

import stat
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from ledger.engine import Engine, lock_decisions, open_engine, reading, writing
from ledger.tables import heartbeats
from schemas.errors import LedgerUnavailable
from tests.contract.ledger_rig import NOW, at, at_once, rows


def put(engine: Engine, process: str) -> None:
    with writing(engine) as connection:
        connection.execute(insert(heartbeats).values(kind="k", process=process, beat_at=NOW))


def test_a_transaction_is_committed_completely_or_not_at_all(ledger_engine: Engine) -> None:
    def fail_half_way() -> None:
        with writing(ledger_engine) as connection:
            connection.execute(insert(heartbeats).values(kind="k", process="a", beat_at=NOW))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert rows(ledger_engine, heartbeats) == []


def test_transactions_that_read_before_they_write_wait_for_each_other(
    ledger_engine: Engine,
) -> None:
    # On SQLite a reader cannot become a writer once another connection has written.
    put(ledger_engine, "counter")

    def add(_: int) -> None:
        for _ in range(10):
            with writing(ledger_engine) as connection:
                lock_decisions(connection)
                before = connection.scalar(select(heartbeats.c.beat_at))
                assert before is not None
                connection.execute(heartbeats.update().values(beat_at=before + (at(1) - NOW)))

    at_once(5, add)
    assert rows(ledger_engine, heartbeats)[0].beat_at == at(50)


def test_readers_do_not_wait_for_writers(ledger_engine: Engine) -> None:
    with writing(ledger_engine) as connection:
        connection.execute(insert(heartbeats).values(kind="k", process="a", beat_at=NOW))
        assert at_once(1, lambda _: rows(ledger_engine, heartbeats)) == [[]]


def test_times_come_back_aware_and_to_the_microsecond(ledger_engine: Engine) -> None:
    put(ledger_engine, "a")
    [row] = rows(ledger_engine, heartbeats)
    assert row.beat_at == NOW
    assert row.beat_at.utcoffset() is not None


def test_a_time_without_a_zone_is_refused(ledger_engine: Engine) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(LedgerUnavailable), writing(ledger_engine) as connection:
        connection.execute(insert(heartbeats).values(kind="k", process="a", beat_at=naive))


def test_an_error_says_its_kind_and_no_value(ledger_engine: Engine) -> None:
    put(ledger_engine, "ana@people.example")
    with pytest.raises(LedgerUnavailable) as caught:
        put(ledger_engine, "ana@people.example")
    assert "ana" not in str(caught.value)


def test_a_missing_database_is_unavailable() -> None:
    engine = open_engine("postgresql+psycopg://nobody:secret@127.0.0.1:9/none")
    with pytest.raises(LedgerUnavailable) as caught, reading(engine) as connection:
        connection.execute(text("SELECT 1"))
    assert "secret" not in str(caught.value)
    engine.dispose()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"this is no database" * 100)
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(LedgerUnavailable), writing(engine) as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()


def test_the_folder_of_a_file_is_created_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "var"
    engine = open_engine(f"sqlite:///{folder / 'ledger.db'}")
    with writing(engine) as connection:
        assert connection.scalar(text("PRAGMA journal_mode")) == "wal"
        assert connection.scalar(text("PRAGMA synchronous")) == 2
        assert connection.scalar(text("PRAGMA foreign_keys")) == 1
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    engine.dispose()
