"""`coursebell backfill` as an operator runs it, against the stand-in, in this process."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from ledger.actions import copy_of
from ledger.clock import SYSTEM_CLOCK
from ledger.controls import begin_with, change_mode
from ledger.engine import Engine, reading, writing
from ledger.people import accept_person
from ledger.tables import actions, lookups, notifications
from schemas.actions import Mode
from service.cli.main import commands, main
from tests.contract.study_rig import coworker
from tests.doubles.terminal import Terminal
from tests.sandbox.sandbox_rig import PASSWORD, USERNAME, Running, running
from tests.servers.ready_ledgers import quick_engine, sqlite_copy


@dataclass
class Desk:
    """Settings and a ledger with which an operator runs commands."""

    sandbox: Running
    engine: Engine

    def run(self, *words: str, typed: bytes | None = None) -> Result:
        answers = None if typed is None else Terminal(typed)
        return CliRunner().invoke(commands, ["backfill", *words], input=answers)

    def notified(self) -> list[tuple[str, str]]:
        with reading(self.engine) as connection:
            rows = connection.execute(notifications.select().order_by(notifications.c.id))
            return [(row.origin, row.entity) for row in rows]

    def states(self) -> list[tuple[str, str | None]]:
        with reading(self.engine) as connection:
            rows = connection.execute(actions.select().order_by(actions.c.id))
            return [(row.state, row.reason) for row in rows]

    def begin_sending(self) -> None:
        with writing(self.engine) as connection:
            change_mode(connection, Mode.SENDING, "a test", SYSTEM_CLOCK.now() - timedelta(days=1))

    def waiting(self) -> int:
        with reading(self.engine) as connection:
            return len(connection.execute(lookups.select()).all())

    def study(self, name: str, lessons: int = 2) -> int:
        """Enrol a member and finish lessons without a notification; return their Id."""
        member_id = self.sandbox.enrol(name, "Freelance Finance", deliver=False)
        for _ in range(lessons):
            self.sandbox.post("/sandbox/finish-lesson", course_member_id=member_id, deliver=False)
        return self.sandbox.person(name)

    def know(self, coworker_id: int, name: str, email: str) -> None:
        with writing(self.engine) as connection:
            accept_person(
                connection, coworker(coworker_id, full_name=name, email=email), SYSTEM_CLOCK.now()
            )


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    sign_in = ("--username", USERNAME, "--password", PASSWORD)
    engine = quick_engine(sqlite_copy(tmp_path / "coursebell.db"))
    with writing(engine) as connection:
        begin_with(
            connection, Mode.OBSERVE, SYSTEM_CLOCK.now() - timedelta(days=2), SYSTEM_CLOCK.new_id()
        )
    with running("--no-deliver", *sign_in) as sandbox:
        for name, text in {
            "DATA_DIR": str(tmp_path),
            "NEXUDUS_URL": sandbox.addresses["api"],
            "NEXUDUS_USERNAME": USERNAME,
            "NEXUDUS_PASSWORD": PASSWORD,
            "NEXUDUS_LIMITS": "1000/second;100000/hour",
            "ZONE": "Europe/Lisbon",
        }.items():
            monkeypatch.setenv(f"COURSEBELL_{name}", text)
        yield Desk(sandbox, engine)
    engine.dispose()
    structlog.reset_defaults()  # commands set it for their whole process


def test_a_window_lists_findings_by_name_and_day_with_the_next_command(desk: Desk) -> None:
    desk.study("Joël")
    done = desk.run("--since", "2d")
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0] == "Found 2 finished lessons and 1 enrolment not known here."
    assert "Joël" in lines[1]
    assert lines[1].endswith(": 2 finished lessons and 1 enrolment")
    assert lines[2:4] == ["Reading them.", "2 emails are held about this, and none was sent:"]
    assert lines[-1].startswith("The mode is observe, so nothing is sent.")
    assert "@example" not in done.output.replace("***@example", "")
    assert {origin for origin, _ in desk.notified()} == {"review"}
    assert desk.waiting() == 3
    again = desk.run("--since", "2d")
    assert again.output.startswith("All 3 records of the window are known here already.\n2 emails")
    assert desk.waiting() == len(desk.notified()) == 3


def test_a_dry_run_shows_the_same_and_writes_nothing(desk: Desk) -> None:
    desk.study("Zoë", lessons=1)
    done = desk.run("--since", "1h", "--dry-run")
    assert done.output.startswith("Found 1 finished lesson and 1 enrolment not known here.")
    assert "Nothing was changed." in done.output
    assert (desk.notified(), desk.waiting()) == ([], 0)


def test_with_send_notifications_have_the_origin_person(desk: Desk) -> None:
    desk.study("Joël", lessons=0)
    asked = desk.run("--since", "1h", "--send")
    assert (asked.exit_code, "--send --yes" in asked.stderr) == (3, True)
    assert desk.notified() == []
    done = desk.run("--since", "1h", "--send", "--yes")
    assert done.exit_code == 0, done.output
    assert desk.notified() == [("person", "CourseMember"), ("review", "CourseMember")]
    assert "The mode is observe, so nothing is sent." in done.output
    assert desk.states() == [("held", "imported")]


def test_listed_emails_are_sent_only_after_confirmation(desk: Desk) -> None:
    desk.begin_sending()
    coworker_id = desk.study("Joël", lessons=0)
    done = desk.run("--person", str(coworker_id))
    lines = done.output.splitlines()
    assert (
        "(0 hours ago)  Joël Núñez <j***@example.org>  You're in: Freelance Finance: " in lines[-2]
    )
    assert lines[-1].startswith("To send them: run this again with --send")
    asking = ("--person", str(coworker_id), "--send")
    refused = desk.run(*asking, typed=b"n\n")
    assert refused.output.splitlines()[-1].startswith("Nothing was sent.")
    assert desk.states() == [("held", "imported")]
    with reading(desk.engine) as connection:
        kept = copy_of(connection, 1)
    assert kept is not None, "it can be looked at before it goes"
    assert kept.title == "You're in: Freelance Finance"
    agreed = desk.run(*asking, typed=b"y\n")
    assert "Send 1 email?" in agreed.output
    assert agreed.output.splitlines()[-1] == "1 released. To watch them being sent: coursebell tail"
    assert desk.states() == [("waiting", None)]
    assert "No email is held about this." in desk.run(*asking, "--yes").output


def test_as_json_it_is_one_document(desk: Desk) -> None:
    coworker_id = desk.study("Joël", lessons=1)
    said = json.loads(desk.run("--since", "1h", "--json", "--dry-run").output)
    assert (said["dry_run"], said["person"]) == (True, None)
    assert said["news"] == {"CourseMember": 1, "CourseCompletedLesson": 1}
    assert {row["entity"] for row in said["rows"]} == {"CourseMember", "CourseCompletedLesson"}
    said = json.loads(desk.run("--person", str(coworker_id), "--json").output)
    assert said["person"]["coworker_id"] == coworker_id
    assert said["news"] == {"CourseMember": 1, "CourseCompletedLesson": 1}
    assert (said["unread"], said["failed"], said["released"]) == (0, 0, [])
    assert [one["rule"] for one in said["emails"]] == ["welcome", "congratulate-lesson"]
    assert said["emails"][0]["email"] == "j***@example.org"


@pytest.mark.parametrize("by", ["address", "part", "id"])
def test_a_person_is_found_as_by_why_and_requested_completely(desk: Desk, by: str) -> None:
    coworker_id = desk.study("Joël")
    desk.study("Zoë")
    desk.know(coworker_id, "Joël Known", "joel.known@example.org")
    who = {"address": "Joel.Known@example.org", "part": "known", "id": str(coworker_id)}[by]
    done = desk.run("--person", who)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[0] == "Joël Known  j***@example.org"
    assert "Found 2 finished lessons and 1 enrolment.\n" in done.output
    assert [origin for origin, _ in desk.notified()] == ["review"] * 3
    whole = desk.run("--person", str(coworker_id), "--show-addresses", "--dry-run")
    assert whole.output.startswith("Joël Núñez  joel.nunez@example.org\n")


def test_an_unknown_id_is_requested(desk: Desk) -> None:
    coworker_id = desk.study("Joël", lessons=0)
    done = desk.run("--person", str(coworker_id))
    assert done.output.startswith(
        f"Coworker {coworker_id}, whose name and address were not read yet\nFound "
    )
    nothing = desk.run("--person", "424242")
    assert nothing.output.splitlines()[1] == "Nexudus has no enrolment of this person."


def test_no_match_and_several_matches_exit_with_1_and_a_hint(desk: Desk) -> None:
    nobody = desk.run("--person", "nobody@example.org")
    assert nobody.exit_code == 1
    assert "coursebell backfill --person" in nobody.stderr
    desk.know(71, "Ana Sousa", "ana@example.org")
    desk.know(72, "Ana Reis", "reis@example.org")
    several = desk.run("--person", "ana")
    assert several.exit_code == 1
    assert "  71  Ana Sousa  a***@example.org\n" in several.stderr
    assert desk.notified() == []


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--since", "2d", "--person", "ana"),
        ("--person", "ana", "--until", "1d"),
        ("--since", "1d", "--until", "2d"),
        ("--since", "yesterday"),
    ],
)
def test_contradictory_options_are_wrong_usage(desk: Desk, words: tuple[str, ...]) -> None:
    assert desk.run(*words).exit_code == 2


def test_a_refusal_by_nexudus_exits_with_4(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COURSEBELL_NEXUDUS_PASSWORD", "wrong")
    monkeypatch.setattr("sys.argv", ["coursebell", "backfill", "--since", "1d"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    said = capsys.readouterr().err
    assert "wrong" not in said
    assert said.splitlines()[-1].startswith("Run `coursebell doctor`")
    assert desk.notified() == []
