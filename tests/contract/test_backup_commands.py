"""`backup`, `restore`, `move`, `held`, `release` and `skip` as an operator runs them."""

import json
import os
import stat
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from ledger.backup import copy_ledger
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with, change_mode
from ledger.engine import open_engine, reading, writing
from ledger.heartbeats import LastAlive, last_gap, record_heartbeat
from ledger.interventions import decisions, log_decision
from ledger.migrate import migrate
from ledger.tables import actions, lookups
from schemas.actions import ActionState, Mode
from schemas.errors import ConfigurationError
from schemas.reasons import Reason
from service.cli.main import commands
from tests.contract.ledger_rig import arrival, decide, keep, lesson_done, plan_for, rows
from tests.doubles.terminal import Terminal
from tests.servers.ready_ledgers import sqlite_copy
from workers.heartbeat import shared_lock, write_last_alive


@dataclass
class Desk:
    """Settings and a ledger with which an operator runs commands."""

    folder: Path
    url: str

    def run(self, *words: str, answer: str | Terminal | None = None) -> Result:
        return CliRunner().invoke(commands, words, input=answer)

    def as_json(self, *words: str) -> dict[str, object]:
        result = self.run(*words, "--json")
        assert result.exit_code == 0, result.output
        found: dict[str, object] = json.loads(result.stdout)
        return found

    def keep(self, *record_ids: int) -> None:
        engine = open_engine(self.url)
        keep(engine, arrival(*record_ids))
        engine.dispose()

    def count(self) -> int:
        engine = open_engine(self.url)
        found = len(rows(engine, lookups))
        engine.dispose()
        return found

    def hold(self, *reasons: Reason) -> None:
        """Hold one email for each reason."""
        engine = open_engine(self.url)
        for number, reason in enumerate(reasons, 1):
            found = lesson_done(number, SYSTEM_CLOCK.now())
            decide(engine, found, plan_for(found), SYSTEM_CLOCK.now())
            with writing(engine) as connection:
                held = update(actions).where(actions.c.id == number)
                connection.execute(held.values(state=ActionState.HELD, reason=reason))
        engine.dispose()

    def states(self) -> list[tuple[str, str | None]]:
        engine = open_engine(self.url)
        found = [(row.state, row.reason) for row in rows(engine, actions)]
        engine.dispose()
        return found

    def log(self) -> list[str]:
        engine = open_engine(self.url)
        with reading(engine) as connection:
            found = [line.what for line in decisions(connection)]
        engine.dispose()
        return found

    def choose(self, mode: Mode) -> None:
        engine = open_engine(self.url)
        with writing(engine) as connection:
            change_mode(connection, mode, "a test", SYSTEM_CLOCK.now())
        engine.dispose()


def _desk(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    engine = open_engine(url)
    with writing(engine) as connection:
        begin_with(connection, Mode.SENDING, SYSTEM_CLOCK.now(), SYSTEM_CLOCK.new_id())
    engine.dispose()
    (folder / "secret_key").write_text("the key of this ledger")
    monkeypatch.setenv("COURSEBELL_DATA_DIR", str(folder))
    monkeypatch.setenv("COURSEBELL_DATABASE_URL", url)
    return Desk(folder, url)


@pytest.fixture
def desk(ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return _desk(ledger_url, tmp_path, monkeypatch)


@pytest.fixture
def sqlite_desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    url = sqlite_copy(tmp_path / "coursebell.db")
    return _desk(url, tmp_path, monkeypatch)


def test_a_backup_is_made_and_restored_with_its_key(desk: Desk) -> None:
    desk.keep(1, 2, 3)
    made = desk.as_json("backup", str(desk.folder))
    file = Path(str(made["file"]))
    assert made["secret_key"] is True
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    desk.keep(4)
    (desk.folder / "secret_key").write_text("another")

    asked = desk.run("restore", str(file))
    assert (asked.exit_code, "--yes" in asked.stderr) == (3, True)
    restored = desk.as_json("restore", str(file), "--yes")
    assert desk.count() == 3
    assert restored["secret_key"] == "restored"
    assert (desk.folder / "secret_key").read_text() == "the key of this ledger"
    assert stat.S_IMODE((desk.folder / "secret_key").stat().st_mode) == 0o600
    assert desk.log() == ["restore"]

    # The ledger that was there is kept, and one can go back to it the same way.
    desk.as_json("restore", str(restored["kept"]), "--yes")
    assert desk.count() == 4


def test_a_backup_overwrites_nothing_and_needs_a_folder(desk: Desk) -> None:
    (desk.folder / "precious").write_text("precious")
    refused = desk.run("backup", str(desk.folder / "precious"))
    assert (refused.exit_code, "not overwritten" in refused.stderr) == (1, True)
    assert (desk.folder / "precious").read_text() == "precious"
    for target in ("nowhere/one.db", "nowhere/"):
        refused = desk.run("backup", f"{desk.folder}/{target}")
        assert (refused.exit_code, "mkdir -p" in refused.stderr) == (2, True)
    assert not (desk.folder / "nowhere").exists()


def test_a_file_that_is_no_backup_changes_nothing(desk: Desk) -> None:
    desk.keep(1)
    left_by_killed = desk.folder / ".restoring-abc"
    left_by_killed.mkdir()
    (left_by_killed / "ledger.db").write_text("with the secret key")
    (desk.folder / "notes.txt").write_text("no backup" * 1000)
    refused = desk.run("restore", str(desk.folder / "notes.txt"), "--yes")
    assert (refused.exit_code, "Nothing was changed" in refused.stderr) == (1, True)
    assert desk.count() == 1
    assert list(desk.folder.glob(".restoring*")) == []


@pytest.mark.parametrize(
    ("key_now", "says"), [("k" * 16, "same"), ("z" * 16, "different"), ("", "missing")]
)
def test_a_backup_without_its_key_says_whether_the_key_set_here_is_the_ledgers(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, key_now: str, says: str
) -> None:
    monkeypatch.setenv("COURSEBELL_SECRET_KEY", "k" * 16)
    assert desk.run("config", "accept-key", "--yes").exit_code == 0
    made = desk.as_json("backup", str(desk.folder))
    assert made["secret_key"] is False
    (desk.folder / "secret_key").unlink()
    monkeypatch.setenv("COURSEBELL_SECRET_KEY", key_now)
    assert desk.as_json("restore", str(made["file"]), "--yes")["secret_key"] == says
    assert not (desk.folder / "secret_key").exists()


def test_with_a_clock_that_is_behind_a_restore_needs_confirmation(desk: Desk) -> None:
    file = str(desk.as_json("backup", str(desk.folder))["file"])
    for hours, is_behind in ((-1, False), (1, True)):
        write_last_alive(desk.folder, LastAlive("any", SYSTEM_CLOCK.now() + timedelta(hours=hours)))
        asked = desk.run("restore", file, "--yes")
        assert (asked.exit_code, "Check the clock" in asked.stderr) == (is_behind, is_behind)
        assert ("Nothing was changed" in asked.stderr) is is_behind


def test_a_backup_with_times_in_the_future_is_restored_only_after_confirmation(
    desk: Desk,
) -> None:
    engine = open_engine(desk.url)
    with writing(engine) as connection:
        record_heartbeat(connection, "worker", "gone:1", SYSTEM_CLOCK.now() + timedelta(days=1))
    engine.dispose()
    file = str(desk.as_json("backup", str(desk.folder))["file"])
    asked = desk.run("restore", file, "--yes")
    assert (asked.exit_code, "Check the clock" in asked.stderr) == (1, True)


def test_nothing_is_restored_while_coursebell_runs(desk: Desk) -> None:
    file = str(desk.as_json("backup", str(desk.folder))["file"])
    lock = shared_lock(desk.folder)
    assert lock is not None
    with os.fdopen(lock, "rb"):
        for words in (("restore", file), ("restore", "--declare-gap", "1h")):
            refused = desk.run(*words, "--yes")
            assert (refused.exit_code, "running" in refused.stderr) == (1, True)
    engine = open_engine(desk.url)
    with writing(engine) as connection:
        record_heartbeat(connection, "worker", "elsewhere", SYSTEM_CLOCK.now())
    # SQLite sees who has the file open, PostgreSQL who was alive.
    refused = desk.run("restore", file, "--yes")
    assert (refused.exit_code, "Stop it, then try again" in refused.stderr) == (1, True)
    engine.dispose()
    assert desk.count() == 0


def test_a_gap_is_declared_where_another_tool_set_the_database_back(desk: Desk) -> None:
    desk.hold(Reason.TOO_OLD)
    assert desk.run("restore", "--declare-gap", "2h").exit_code == 3
    last = LastAlive("any", SYSTEM_CLOCK.now() + timedelta(hours=1))  # the clock was set back since
    write_last_alive(desk.folder, last)
    declared = desk.as_json("restore", "--declare-gap", "2h", "--yes")
    assert declared["held"] == 0
    engine = open_engine(desk.url)
    with reading(engine) as connection:
        gap = last_gap(connection)
    engine.dispose()
    assert gap is not None
    assert gap.began_at is not None
    assert gap.ended_at - gap.began_at > timedelta(hours=1)
    assert gap.ended_at == last.at
    assert desk.run("restore").exit_code == 2


def test_held_emails_are_listed_released_and_skipped_by_reason_or_by_id(desk: Desk) -> None:
    desk.hold(Reason.RESTORED, Reason.RESTORED, Reason.TOO_OLD, Reason.FLOOD_GUARD)
    assert desk.as_json("held")["counts"] == {"restored": 2, "too-old": 1, "flood-guard": 1}
    shown = desk.run("held", "--reason", "restored").stdout
    assert "2 held, restored: It may have been sent already" in shown

    asked = desk.run("release", "--reason", "restored")
    assert (asked.exit_code, "--yes" in asked.stderr) == (3, True)
    refused = desk.run("release", "--reason", "restored", answer=Terminal(b"n\n"))
    assert (refused.exit_code, "Release 2 emails? [y/N]" in refused.stderr) == (1, True)
    # The one who is asked sees which emails they are, as `held` lists them.
    assert shown.splitlines()[:3] == refused.stderr.splitlines()[:3]
    assert desk.as_json("release", "--reason", "restored", "--yes") == {"released": [1, 2]}
    assert desk.as_json("skip", "4", "--yes") == {"skipped": [4]}
    assert desk.states() == [
        ("waiting", None),
        ("waiting", None),
        ("held", "too-old"),
        ("skipped", "flood-guard"),
    ]
    assert desk.log() == ["release", "skip"]


@pytest.mark.parametrize("word", ["release", "skip"])
def test_ids_that_are_not_held_are_reported_and_nothing_is_changed(desk: Desk, word: str) -> None:
    desk.hold(Reason.RESTORED, Reason.TOO_OLD)
    assert desk.as_json("skip", "2", "--yes") == {"skipped": [2]}
    refused = desk.run(word, "1", "2", "77", "--yes")
    assert refused.exit_code == 1
    assert "2 is not held: it is not sent on purpose (too-old)." in refused.stderr
    assert "77 is not held: there is no such email." in refused.stderr
    assert desk.states() == [("held", "restored"), ("skipped", "too-old")]
    assert desk.run(word, "--yes").exit_code == 2
    other = desk.run(word, "1", "--reason", "too-old", "--yes")
    assert other.exit_code == 1
    assert "Email 1 does not match the other options." in other.stderr
    assert desk.states() == [("held", "restored"), ("skipped", "too-old")]


def test_in_observe_mode_nothing_is_released(desk: Desk) -> None:
    desk.hold(Reason.RESTORED)
    desk.choose(Mode.OBSERVE)
    refused = desk.run("release", "1", "--yes")
    assert (refused.exit_code, "coursebell mode sending" in refused.stderr) == (1, True)
    assert desk.states() == [("held", "restored")]


@pytest.mark.postgres
def test_a_ledger_moves_to_postgresql_and_the_file_is_no_longer_used(
    sqlite_desk: Desk, postgres_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = sqlite_desk
    desk.keep(1, 2, 3)
    (desk.folder / "target").write_text(
        postgres_database_url.replace("postgresql+psycopg", "postgres") + "\n"
    )
    moved = desk.run("move", "--to-file", str(desk.folder / "target"))
    assert moved.exit_code == 0, moved.output
    assert postgres_database_url.partition("://")[2] not in moved.output
    there = Desk(desk.folder, postgres_database_url)
    assert there.count() == 3
    assert there.log() == ["move"]

    for words in (("status",), ("migrate",), ("mode",)):
        with pytest.raises(ConfigurationError, match="was moved to PostgreSQL"):
            CliRunner().invoke(commands, words, catch_exceptions=False)
    monkeypatch.setenv("COURSEBELL_DATABASE_URL", postgres_database_url)
    there.keep(4)
    assert there.as_json("held") == {"counts": {}, "actions": []}

    # The other way is a restore, which knows what may have been sent meanwhile.
    monkeypatch.setenv("COURSEBELL_DATABASE_URL", desk.url)
    desk.as_json("restore", str(desk.folder / "coursebell.db"), "--yes")
    assert desk.count() == 3
    assert desk.log() == ["restore"]


def _copy(here: str, there: str) -> None:
    """Do what a move does until it marks the file."""
    source, target = open_engine(here), open_engine(there)
    migrate(target)
    with reading(source) as rows_here, writing(target) as connection:
        copy_ledger(rows_here, connection)
        log_decision(connection, "move", "Rita", SYSTEM_CLOCK.now(), {})
    source.dispose()
    target.dispose()


@pytest.mark.postgres
def test_a_move_that_was_killed_before_the_file_was_marked_is_finished_by_the_next(
    sqlite_desk: Desk, postgres_database_url: str
) -> None:
    desk, there = sqlite_desk, Desk(sqlite_desk.folder, postgres_database_url)
    desk.keep(1, 2)
    _copy(desk.url, there.url)
    there.keep(3)
    refused = desk.run("move", "--to", there.url)
    assert (refused.exit_code, "DROP SCHEMA public CASCADE" in refused.stderr) == (1, True)
    assert there.count() == 3
    _copy(desk.url, there.url)
    moved = desk.run("move", "--to", postgres_database_url)
    assert moved.exit_code == 0, moved.output
    assert (there.count(), there.log()) == (2, ["move"])
    with pytest.raises(ConfigurationError, match="was moved to PostgreSQL"):
        CliRunner().invoke(commands, ["status"], catch_exceptions=False)


@pytest.mark.postgres
def test_a_ledger_moves_only_to_an_empty_database(sqlite_desk: Desk, ledger_url: str) -> None:
    desk = sqlite_desk
    desk.keep(1)
    for url in ("sqlite:////nowhere.db", "mysql://a:secret@b/c"):
        refused = desk.run("move", "--to", url)
        assert (refused.exit_code, "secret" in refused.output) == (2, False)
    refused = desk.run("move", "--to", "postgresql://who:secret@127.0.0.1:1/none")
    assert (refused.exit_code, "secret" in refused.output) == (4, False)
    assert "the host and port in the URL to move to" in refused.stderr
    if ledger_url.startswith("postgresql"):
        Desk(desk.folder, ledger_url).keep(7)
        refused = desk.run("move", "--to", ledger_url)
        assert (refused.exit_code, "already holds a ledger" in refused.stderr) == (1, True)
        assert Desk(desk.folder, ledger_url).count() == 1
    assert desk.as_json("held")["counts"] == {}
