"""One worker child is ready, or exits with the reason; each task checks it first."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.controls import check_key
from ledger.engine import open_engine
from ledger.tables import heartbeats
from schemas.errors import ConfigurationError
from schemas.settings import Settings, load_settings
from tests.contract.ledger_rig import NOW, rows
from tests.doubles.still_clock import StillClock
from tests.servers.ready_ledgers import sqlite_copy
from workers.context import SharedConfig, read_shared_config
from workers.shared_state import SharedState
from workers.worker_process import (
    SWITCH_INTERVAL_S,
    close_process,
    initialise_process,
    start_process,
    this_process,
)


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    close_process()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        {
            "COURSEBELL_DATA_DIR": str(tmp_path),
            "COURSEBELL_DATABASE_URL": sqlite_copy(tmp_path / "ledger.db"),
        }
    )


def test_a_task_first_records_a_heartbeat(settings: Settings) -> None:
    initialise_process(settings, read_shared_config(settings), SharedState(1))
    child = this_process()
    assert [row.kind for row in rows(child.context.engine, heartbeats)] == ["worker"]


def test_a_writer_soon_gets_its_turn_back_from_threads_that_compute(settings: Settings) -> None:
    before = sys.getswitchinterval()
    try:
        initialise_process(settings, read_shared_config(settings), SharedState(1))
        assert sys.getswitchinterval() == pytest.approx(SWITCH_INTERVAL_S)
    finally:
        sys.setswitchinterval(before)


def test_a_task_is_refused_where_the_ledger_belongs_to_another_key(settings: Settings) -> None:
    engine = open_engine(settings.database_url)
    check_key(engine, "a" * 40, NOW)
    initialise_process(
        settings, SharedConfig(read_shared_config(settings).rules, "b" * 40), SharedState(1)
    )
    with pytest.raises(ConfigurationError, match="secret key"):
        this_process()
    assert rows(engine, heartbeats) == []
    engine.dispose()


def test_a_child_that_cannot_start_exits_after_a_growing_pause_and_is_logged_once(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared, shared_config = SharedState(1), read_shared_config(settings)
    ledger, aside = tmp_path / "ledger.db", tmp_path / "aside"
    ledger.rename(aside)
    ledger.symlink_to(tmp_path / "missing" / "ledger.db")
    pauses = []
    for _ in range(7):
        clock = StillClock()
        with pytest.raises(SystemExit) as ended:
            start_process(settings, shared_config, shared, clock)
        assert ended.value.code == 1
        pauses.append(clock.seconds)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    said = capsys.readouterr().out
    assert said.count("child.unready") == 1
    assert "the ledger's file cannot be created" in said
    assert "COURSEBELL_DATA_DIR" in said

    ledger.unlink()
    aside.rename(ledger)
    start_process(settings, shared_config, shared)
    this_process()
    assert "child.ready" in capsys.readouterr().out
    assert shared.forget_failures() == 0


def test_a_child_that_cannot_start_does_not_delay_a_worker_that_stops(
    settings: Settings, tmp_path: Path
) -> None:
    shared, shared_config = SharedState(1), read_shared_config(settings)
    (tmp_path / "ledger.db").rename(tmp_path / "aside")
    (tmp_path / "ledger.db").symlink_to(tmp_path / "missing" / "ledger.db")

    class StopsWhileAsleep(StillClock):
        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            shared.stop()

    clock = StopsWhileAsleep()
    with pytest.raises(SystemExit):
        start_process(settings, shared_config, shared, clock)
    assert len(clock.sleeps) == 1
