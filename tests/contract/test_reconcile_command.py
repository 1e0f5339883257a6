"""`coursebell reconcile` as an operator runs it, with the real source client and the stand-in."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from service.cli.main import commands, main
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from tests.servers.ready_ledgers import sqlite_copy
from workers.context import make_context, read_shared_config
from workers.environment import load
from workers.lookup.claim import drain_batch

COURSE = "Freelance"
PERSON = "Joël"


@pytest.fixture
def sandbox() -> Iterator[Running]:
    with running("--no-deliver", "--username", USERNAME, "--password", PASSWORD) as found:
        yield found


@pytest.fixture
def environment(
    sandbox: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str]:
    """Make a ledger, and set the environment for it."""
    settings = {
        "COURSEBELL_DATA_DIR": str(tmp_path),
        "COURSEBELL_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
        "COURSEBELL_NEXUDUS_URL": sandbox.addresses["api"],
        "COURSEBELL_NEXUDUS_USERNAME": USERNAME,
        "COURSEBELL_NEXUDUS_PASSWORD": PASSWORD,
        "COURSEBELL_NEXUDUS_LIMITS": "1000/second;100000/hour",
        "COURSEBELL_ZONE": "Asia/Kolkata",
    }
    for name, text in settings.items():
        monkeypatch.setenv(name, text)
    sqlite_copy(tmp_path / "ledger.db")
    return settings


class Terminal(io.StringIO):
    """What an operator types at a terminal."""

    def isatty(self) -> bool:
        return True


def reconcile(*words: str) -> Result:
    try:
        return CliRunner().invoke(commands, ["reconcile", *words])
    finally:
        structlog.reset_defaults()


def read_all(environment: dict[str, str]) -> None:
    """Do what workers do with what is due."""
    settings = load(environment)
    context = make_context(settings, read_shared_config(settings))
    try:
        while drain_batch(context.lookup_context)[0]:
            pass
    finally:
        context.close()


def plain(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(reconcile("--json", *words).stdout)
    return found


def test_it_reports_imports_and_then_finds_no_difference(
    sandbox: Running, environment: dict[str, str]
) -> None:
    member_id = sandbox.enrol(PERSON, COURSE)
    done = sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
    result = reconcile()
    assert result.exit_code == 1
    assert "Compared 1 enrolment and 1 finished lesson with Nexudus." in result.output
    assert "Missing here: 2" in result.output
    assert f"Joël Núñez  enrolment  (Freelance Finance)  Id {member_id}" in result.output
    assert "@" not in result.output
    assert "coursebell reconcile --import" in result.output
    brought = reconcile("--import")
    assert brought.exit_code == 0
    assert "Imported 2: workers read each and decide; no email is sent about" in brought.output
    assert "To be read anyway, as a lookup is due: 2" in reconcile().output
    read_all(environment)
    after = reconcile()
    assert after.exit_code == 0
    assert "Nothing differs." in after.output
    ids = {"entity": "CourseCompletedLesson", "id": done["completed_lesson_id"]}
    sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
    sandbox.post("/sandbox/delete", **ids)
    [gone] = [one for one in plain()["differences"] if one["way"] == "gone"]
    assert {name: gone[name] for name in ids} == ids
    assert gone["person"] == "Joël Núñez"
    assert reconcile("--import").exit_code == 0


def test_the_suggested_command_keeps_the_scope(
    sandbox: Running, environment: dict[str, str]
) -> None:
    assert environment
    sandbox.enrol(PERSON, COURSE)
    other = sandbox.course("Ceramics")
    assert plain("--course", str(other))["differences"] == []
    this = sandbox.course(COURSE)
    result = reconcile("--since", "2026-01-01T00:00", "--course", str(this))
    assert result.exit_code == 1
    # Half past six in the evening before, since it was meant where the space is.
    since = "--since 2025-12-31T18:30Z"
    assert f"coursebell reconcile {since} --course {this} --import" in result.output


def test_an_unreachable_source_has_another_exit_code_than_a_difference(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert environment
    monkeypatch.setenv("COURSEBELL_NEXUDUS_URL", "http://127.0.0.1:9")
    result = reconcile()
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "coursebell doctor" in result.stderr


def test_import_and_send_exclude_each_other() -> None:
    assert reconcile("--import", "--send").exit_code == 2


def test_an_unknown_course_is_wrong_usage(sandbox: Running, environment: dict[str, str]) -> None:
    sandbox.enrol(PERSON, COURSE)
    result = reconcile("--course", "5")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "has a course with this Id: 5" in result.stderr
    this = str(sandbox.course(COURSE))
    assert reconcile("--course", this, "--course", "5", "--import").exit_code == 2
    assert reconcile("--course", "0").exit_code == 2
    assert plain("--course", this)["CourseMember"]["under_way"] == 0, "nothing was brought in"
    assert reconcile("--course", this, "--import").exit_code == 0
    read_all(environment)
    assert reconcile("--course", this).exit_code == 0


def test_without_a_terminal_send_needs_yes(sandbox: Running, environment: dict[str, str]) -> None:
    assert environment
    sandbox.enrol(PERSON, COURSE)
    result = reconcile("--send", "--since", "2026-01-01T00:00")
    assert (result.exit_code, result.stdout) == (3, "")
    since = "--since 2025-12-31T18:30Z"
    assert result.stderr.endswith(f"needs --yes: coursebell reconcile {since} --send --yes\n")
    assert plain()["CourseMember"]["under_way"] == 0
    assert "Imported 1" in reconcile("--send", "--yes").output
    assert plain()["CourseMember"]["under_way"] == 1


def test_at_a_terminal_send_asks_with_the_number_of_records(
    sandbox: Running,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert environment
    member_id = sandbox.enrol(PERSON, COURSE)
    sandbox.post("/sandbox/finish-lesson", course_member_id=member_id)
    monkeypatch.setattr(sys, "argv", ["coursebell", "reconcile", "--send"])
    for answer, code, brought in (("n", 1, 0), ("y", 0, 2)):
        monkeypatch.setattr(sys, "stdin", Terminal(f"{answer}\n"))
        with pytest.raises(SystemExit) as ended:
            main()
        structlog.reset_defaults()
        assert ended.value.code == code
        said = capsys.readouterr()
        assert "Missing here: 2" in said.out
        assert "Send emails about these 2 records? [y/N]" in said.err
        assert ("Imported 2" in said.out) is bool(brought)
        found = plain()
        under_way = [found[kind]["under_way"] for kind in found if kind.startswith("Course")]
        assert sum(under_way) == brought
