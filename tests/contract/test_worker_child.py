"""One worker child is ready, or exits with the reason; each task checks it first."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ledger.controls import check_key
from ledger.engine import open_engine, reading, writing
from ledger.intake import Origin, store_notifications
from ledger.source_state import proofs
from ledger.tables import heartbeats, lookups
from sandbox.world import CROWD_COMPLETION_ID
from schemas.actions import LookupState
from schemas.entity import Entity
from schemas.errors import ConfigurationError
from schemas.notification import Notification
from schemas.settings import Settings, load_settings
from tests.contract.ledger_rig import NOW, rows
from tests.doubles.still_clock import StillClock
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, running
from tests.servers.ready_ledgers import sqlite_copy
from workers import tasks
from workers.context import SharedConfig, read_shared_config
from workers.lookup.claim import BATCH
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


def test_a_child_with_a_backlog_finds_out_itself_that_several_records_can_be_read_at_once(
    tmp_path: Path,
) -> None:
    seed = tmp_path / "seed.yaml"
    seed.write_text(f"crowd: {{people: 8, courses: 5, enrolments: 20, completions: {3 * BATCH}}}\n")
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    with running("--no-deliver", *sign_in, "--seed", str(seed)) as nexudus:
        settings = load_settings(
            {
                "COURSEBELL_DATA_DIR": str(tmp_path),
                "COURSEBELL_DATABASE_URL": sqlite_copy(tmp_path / "ledger.db"),
                "COURSEBELL_NEXUDUS_URL": nexudus.addresses["api"],
                "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
                "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
                "COURSEBELL_NEXUDUS_LIMITS": "1000000/day",
            }
        )
        initialise_process(settings, read_shared_config(settings), SharedState(1))
        engine = this_process().context.engine
        finished = [
            Notification(Entity.COMPLETED_LESSON, CROWD_COMPLETION_ID + number)
            for number in range(3 * BATCH)
        ]
        with writing(engine) as connection:
            store_notifications(connection, finished, Origin.RELAY, datetime.now(UTC))
        tasks.drain_lookups()
    assert {row.state for row in rows(engine, lookups)} == {LookupState.DONE}
    with reading(engine) as connection:
        known = proofs(connection)
    assert known[Entity.COMPLETED_LESSON].holds
    assert known[Entity.COURSE_MEMBER].holds


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
