"""A ledger that went back to an older state is noticed before anything is sent."""

import shutil
import stat
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from ledger.backup import make_backup, opened_file
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with, value_of
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import Gap, last_gap, record_heartbeat
from ledger.interventions import held_by_reason
from schemas.actions import Mode
from schemas.reasons import Reason
from tests.contract.ledger_rig import NOW, decide, lesson_done, plan_for
from tests.contract.source_rig import HandClock
from tests.servers.ready_ledgers import sqlite_copy
from workers.heartbeat import Heartbeat, exclusive_lock
from workers.scheduler import Scheduler
from workers.wakeup import Wakeup


class Machine:
    """One machine with its data folder; the ledger is a file that is copied about."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "coursebell.db"
        self.clock = HandClock(NOW)
        sqlite_copy(self.ledger)
        with opened_file(self.ledger) as engine, writing(engine) as connection:
            begin_with(connection, Mode.SENDING, NOW, SYSTEM_CLOCK.new_id())

    def run(self, minutes: float = 10) -> Gap | None:
        """Start a process, let it live for some minutes, and stop it; return the last gap."""
        with opened_file(self.ledger) as engine:
            heartbeat = Heartbeat(engine, "worker", self.clock, self.folder)
            try:
                heartbeat.begin()
                with reading(engine) as connection:
                    found = last_gap(connection)
                self.clock.time += timedelta(minutes=minutes)
                with writing(engine) as connection:
                    record_heartbeat(connection, "worker", "another", self.clock.now())
                heartbeat.beat()
            finally:
                heartbeat.close()
        self.clock.time += timedelta(minutes=1)
        return found

    def copy(self) -> Path:
        copied = self.folder.parent / "copy.db"
        shutil.copyfile(self.ledger, copied)
        return copied


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "var")


def test_stopping_and_starting_again_is_no_gap(machine: Machine) -> None:
    assert [machine.run() for _ in range(3)] == [None] * 3
    machine.clock.time += timedelta(days=3)
    assert machine.run() is None


def test_a_copy_put_in_place_by_hand_is_a_gap_since_it_was_made_and_only_once(
    machine: Machine,
) -> None:
    machine.run()
    copied_at, copied = machine.clock.now(), machine.copy()
    machine.run()
    shutil.copyfile(copied, machine.ledger)
    gap = machine.run()
    assert gap is not None
    assert gap.began_at == copied_at - timedelta(minutes=1)  # when it was last used
    assert machine.run() == gap


def test_emails_that_may_have_been_sent_are_held_at_once(machine: Machine) -> None:
    machine.run()
    with opened_file(machine.ledger) as engine:
        decide(engine, lesson_done(), plan_for(lesson_done()))
    copied = machine.copy()
    machine.run()
    shutil.copyfile(copied, machine.ledger)
    machine.run()
    with opened_file(machine.ledger) as engine, reading(engine) as connection:
        assert held_by_reason(connection) == {Reason.RESTORED: 1}


def test_a_ledger_moved_to_another_machine_without_its_folder_is_a_gap(
    machine: Machine, tmp_path: Path
) -> None:
    machine.run()
    other = Machine(tmp_path / "other")
    other.clock.time = machine.clock.time
    shutil.copyfile(machine.ledger, other.ledger)
    assert other.run() is not None


def test_a_whole_data_folder_moved_to_another_machine_is_no_gap(
    machine: Machine, tmp_path: Path
) -> None:
    machine.run()
    other = Machine(tmp_path / "other")
    other.clock.time = machine.clock.time
    shutil.rmtree(other.folder)
    shutil.copytree(machine.folder, other.folder)
    assert other.run() is None


def test_a_ledger_of_an_older_version_starts_without_a_gap(
    machine: Machine, tmp_path: Path
) -> None:
    with opened_file(machine.ledger) as engine, writing(engine) as connection:
        record_heartbeat(connection, "worker", "of before", NOW - timedelta(hours=3))
    assert machine.run() is None
    # Another ledger in this folder is another story.
    shutil.copyfile(Machine(tmp_path / "other").ledger, machine.ledger)
    assert machine.run() is None


def test_a_backup_put_in_place_by_hand_is_a_gap_since_it_was_made(machine: Machine) -> None:
    made_at = machine.clock.now()
    with opened_file(machine.ledger) as engine:
        make_backup(engine, machine.folder / "backup.db", "the-key", made_at)
    shutil.copyfile(machine.folder / "backup.db", machine.ledger)
    gap = machine.run()
    assert gap is not None
    assert gap.began_at == made_at
    assert machine.run() == gap
    with opened_file(machine.ledger) as engine, reading(engine) as connection:
        assert value_of(connection, "secret_key") is None


def test_a_server_that_goes_back_while_a_process_runs_is_noticed(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    clock = HandClock(NOW)
    with writing(ledger_engine) as connection:
        begin_with(connection, Mode.SENDING, NOW, SYSTEM_CLOCK.new_id())
    heartbeat = Heartbeat(ledger_engine, "worker", clock, tmp_path / "cannot be written")
    heartbeat.begin()
    with writing(ledger_engine) as connection:
        assert last_gap(connection) is None
        connection.exec_driver_sql("DELETE FROM heartbeats")
    clock.time += timedelta(minutes=1)
    heartbeat.beat()
    heartbeat.close()
    with reading(ledger_engine) as connection:
        assert last_gap(connection) == Gap(None, clock.now(), "noticed")


def test_a_new_machine_on_a_shared_database_is_no_gap(
    ledger_engine: Engine, tmp_path: Path
) -> None:
    with writing(ledger_engine) as connection:
        begin_with(connection, Mode.SENDING, NOW, SYSTEM_CLOCK.new_id())
    for name in ("one", "two", "not there"):
        if name != "not there":
            (tmp_path / name).mkdir()
        if ledger_engine.dialect.name == "postgresql" or name == "one":
            heartbeat = Heartbeat(ledger_engine, "worker", HandClock(NOW), tmp_path / name)
            heartbeat.begin()
            heartbeat.close()
    with reading(ledger_engine) as connection:
        assert last_gap(connection) is None


def test_a_process_holds_the_lock_before_it_opens_the_ledger(machine: Machine) -> None:
    # Otherwise one that starts during a restore would keep using the file that was replaced.
    with opened_file(machine.ledger) as engine:
        clock = Scheduler(
            engine, Wakeup(None, SYSTEM_CLOCK), machine.clock, data_folder=machine.folder
        )
        with exclusive_lock(machine.folder) as alone:
            assert not alone
        assert not machine.ledger.with_name(f"{machine.ledger.name}-wal").exists()
        stop = threading.Event()
        stop.set()
        clock.run(stop)
    with exclusive_lock(machine.folder) as alone:
        assert alone


def test_the_exclusive_lock_is_refused_while_a_process_runs(machine: Machine) -> None:
    with opened_file(machine.ledger) as engine:
        heartbeat = Heartbeat(engine, "worker", machine.clock, machine.folder)
        heartbeat.begin()
        with exclusive_lock(machine.folder) as alone:
            assert not alone
        heartbeat.close()
    with exclusive_lock(machine.folder) as alone:
        assert alone
    for name in ("running.lock", "last_alive"):
        assert stat.S_IMODE((machine.folder / name).stat().st_mode) == 0o600
