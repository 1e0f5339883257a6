"""`coursebell certify` as operators run it, with the real source client and the stand-in."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with
from ledger.engine import Engine, open_engine, writing
from ledger.intake import Origin, store_notifications
from schemas.actions import Mode
from schemas.entity import Entity
from schemas.notification import Notification
from schemas.settings import Settings
from service.cli.main import commands, main
from tests.contract.source_rig import HandClock, tell_the_truth
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from tests.servers.ready_ledgers import quick_engine, sqlite_copy
from workers.context import make_context, read_shared_config
from workers.deliver.claim import perform_batch
from workers.environment import load
from workers.lookup.claim import drain_batch

COURSE = "Freelance"
THEN = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
DAYS = ("--from", "2026-03-09", "--to", "2026-03-11")


@dataclass(frozen=True, slots=True)
class Studied:
    """A stand-in where two people studied, and a ledger that knows all of it."""

    sandbox: Running
    folder: Path  # the data folder to copy


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studied]:
    """Let two people study, and have all of it read and decided on."""
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as sandbox:
        sandbox.post("/sandbox/clock", now=THEN.isoformat())
        made = Studied(sandbox, tmp_path_factory.mktemp("studied"))
        members = {name: sandbox.enrol(name, COURSE) for name in ("Joël", "Zoë")}
        done = [
            sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
            for member_id in (*members.values(), members["Zoë"])
        ]
        notified = [Notification(Entity.COURSE_MEMBER, number) for number in members.values()]
        notified += [Notification(Entity.COMPLETED_LESSON, _id(one)) for one in done]
        _decide_on(notified, load(settings_of(made, made.folder)))
        yield made


def _decide_on(notified: list[Notification], settings: Settings) -> None:
    engine = quick_engine(sqlite_copy(Path(settings.data_dir) / "ledger.db"))
    with writing(engine) as connection:
        begin_with(connection, Mode.OBSERVE, THEN - timedelta(days=30), SYSTEM_CLOCK.new_id())
        store_notifications(connection, notified, Origin.RELAY, THEN)
    engine.dispose()
    clock = HandClock(THEN)
    context = make_context(settings, read_shared_config(settings), clock=clock)
    try:
        for _ in range(3):
            while drain_batch(context.lookup_context)[0] or perform_batch(
                context.delivery, context.sources.lend
            ):
                pass
            clock.time += timedelta(hours=1)
    finally:
        context.close()


def settings_of(studied: Studied, folder: Path) -> dict[str, str]:
    return {
        "COURSEBELL_DATA_DIR": str(folder),
        "COURSEBELL_DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        "COURSEBELL_NEXUDUS_URL": studied.sandbox.addresses["api"],
        "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
        "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
        "COURSEBELL_MAIL_FROM": "Rita <rita@example.org>",
        "COURSEBELL_NEXUDUS_LIMITS": "1000/second;100000/hour",
        "COURSEBELL_ZONE": "Europe/Lisbon",
    }


@pytest.fixture(autouse=True)
def environment(
    studied: Studied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Give this test a copy of the ledger, and tell this process where everything is."""
    shutil.copytree(studied.folder, tmp_path, dirs_exist_ok=True)
    settings = settings_of(studied, tmp_path)
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    return settings


def _id(answer: dict[str, Any]) -> int:
    return int(answer["completed_lesson_id"])


def certify(*words: str) -> Result:
    try:
        return CliRunner().invoke(commands, ["certify", *words])
    finally:
        structlog.reset_defaults()


def ledger(environment: dict[str, str]) -> Engine:
    return open_engine(environment["COURSEBELL_DATABASE_URL"])


def delete_lesson_record(environment: dict[str, str]) -> int:
    """Delete one record of a finished lesson from the ledger; return its Id."""
    engine = ledger(environment)
    with writing(engine) as connection:
        found = connection.exec_driver_sql(
            "DELETE FROM records WHERE record_id = (SELECT max(record_id) FROM records "
            "WHERE entity = 'CourseCompletedLesson') AND entity = 'CourseCompletedLesson' "
            "RETURNING record_id"
        ).scalar_one()
    engine.dispose()
    return int(found)


def test_without_differences_it_says_so_and_exits_with_0() -> None:
    result = certify(*DAYS)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "Differences: none. The totals add up."
    assert "2026-03-10" in result.output
    assert "Freelance Finance" in result.output
    assert "@" not in result.output
    heads = next(line for line in result.output.splitlines() if line.startswith("  day"))
    row = next(line for line in result.output.splitlines() if line.startswith("  all days"))
    assert row.split()[2:5] == ["2", "3", "5"]
    assert (heads.split()[-1], row.split()[-1]) == ("sent", "0"), "nothing is sent in observe mode"


def test_a_missing_record_is_named_and_it_exits_with_1(environment: dict[str, str]) -> None:
    missing = delete_lesson_record(environment)
    result = certify(*DAYS)
    assert result.exit_code == 1
    assert "Differences: 1" in result.output
    assert "At Nexudus, but not here: Zoë" in result.output
    assert f"finished lesson {missing}" in result.output
    assert "Next: coursebell reconcile --since 2026-03-09" in result.output
    assert "@" not in result.output
    as_json = certify("--json", *DAYS)
    assert as_json.exit_code == 1
    [one] = json.loads(as_json.stdout)["differences"]
    assert (one["kind"], one["id"]) == ("missing-here", missing)


def test_the_document_and_the_page_are_verified_and_any_change_shows(tmp_path: Path) -> None:
    page, document = tmp_path / "page.html", tmp_path / "certificate.json"
    document.write_text(certify("--json", "--html", str(page), *DAYS).stdout)
    said = json.loads(document.read_text())
    assert said["complete"] is True
    assert said["totals"]["at_source"] == {"enrolments": 2, "lessons": 3}
    text = page.read_text()
    assert "<script" not in text
    assert "http" not in text.replace(said["tenant"], "")
    assert said["signature"] in text
    for path in (page, document):
        genuine = certify("--verify", str(path))
        assert (genuine.exit_code, genuine.output.split(":")[0]) == (0, "Genuine")
        assert json.loads(certify("--verify", str(path), "--json").stdout) == {"verdict": "genuine"}
    document.write_text(document.read_text().replace('"lessons": 3', '"lessons": 4'))
    assert certify("--verify", str(document)).exit_code == 1
    page.write_text(text.replace("Differences: none", "Differences: n0ne"))
    assert certify("--verify", str(page)).exit_code == 1
    page.write_text(text.replace('name="generator"', 'name="maker"'), encoding="utf-8-sig")
    changed = certify("--verify", str(page), "--json")
    assert (changed.exit_code, json.loads(changed.stdout)) == (1, {"verdict": "changed"})
    document.write_text('{"kind": "something"}')
    none = certify("--verify", str(document), "--json")
    assert (none.exit_code, json.loads(none.stdout)) == (2, {"verdict": "no-certificate"})


def test_with_another_key_no_certificate_is_genuine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "certificate.json"
    document.write_text(certify("--json", *DAYS).stdout)
    monkeypatch.setenv("COURSEBELL_SECRET_KEY", "another key of another house")
    assert certify("--verify", str(document)).exit_code == 1
    monkeypatch.delenv("COURSEBELL_SECRET_KEY")
    (tmp_path / "secret_key").unlink()
    assert "secret key" in str(certify("--verify", str(document)).exception)
    assert not (tmp_path / "secret_key").exists()


def test_without_an_answer_of_nexudus_there_is_no_certificate_and_it_exits_with_4(
    studied: Studied,
) -> None:
    sandbox = studied.sandbox
    sandbox.post("/sandbox/misbehaviours", name="missing-right", entity="CourseMember", way="list")
    result = certify(*DAYS)
    tell_the_truth(sandbox)
    assert result.exit_code == 4
    assert "The certificate could not be made" in result.stderr
    assert result.stdout == ""


def test_days_in_the_future_are_wrong_usage() -> None:
    ahead = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
    assert certify("--from", ahead).exit_code == 2
    assert certify("--from", "2026-03-09", "--to", "2026-03-08").exit_code == 2
    for words in (("--from", "0001-01-01"), ("--from", "2026-03-01", "--to", "9999-12-31")):
        refused = certify(*words)
        assert refused.exit_code == 2
        assert "Give days from 2000-01-01 to tomorrow." in refused.stderr
    assert certify("--json", "--html", "-").exit_code == 2


def test_output_that_cannot_be_written_ends_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    with os.fdopen(writing_end, "w", encoding="utf-8") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert ended_with("certify", *DAYS, monkeypatch=monkeypatch) == 141
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert ended_with("certify", *DAYS, monkeypatch=monkeypatch) == 4
    assert "could not be read or written" in capsys.readouterr().err


def ended_with(*words: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Give a command as the program does; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["coursebell", *words])
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        structlog.reset_defaults()
    return ended.value.code
