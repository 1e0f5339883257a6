"""`coursebell preview` writes an email from a member's data; `coursebell test` sends one to you."""

import re
import stat
from datetime import datetime, timedelta
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from ledger.engine import reading, writing
from ledger.tables import actions, attempts, people
from schemas.actions import Mode
from schemas.entity import Entity
from service.cli.simulate import imagined_lines
from tests.contract.desk_rig import Desk
from tests.contract.study_rig import rules_of
from tests.doubles.scripted_smtp import ScriptedSmtp
from workers.deliver.simulation import Imagined, ImaginedEmail

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture(autouse=True)
def in_an_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSEBELL_COURSE_URL", "https://portal.example/{course_id}")
    monkeypatch.setenv("COURSEBELL_LESSON_URL", "https://portal.example/{lesson_id}")


@pytest.fixture
def studied(desk: Desk) -> Desk:
    """Person 1 enrolled, and finished two of three lessons."""
    member = desk.space.enrol(1)
    desk.space.work()
    desk.space.finish(member, 1, 2)
    desk.space.later(days=1)
    return desk


def test_an_email_is_written_as_the_member_would_get_it_now(studied: Desk, tmp_path: Path) -> None:
    shown = studied.run("preview", "lesson-finished", "--as", "person1@example.org")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.splitlines()[:2] == [
        "Subject: 2 lessons done in Freelance Finance",
        "To:      Person 1",
    ]
    folder = tmp_path / "preview"
    text = (folder / "lesson-finished.txt").read_text()
    assert "- Lesson 1\n- Lesson 2\n\n2 of 3 lessons\n\nNext is “Lesson 3”." in text
    assert ">Lesson 1</" in (folder / "lesson-finished.html").read_text()
    message = message_from_bytes((folder / "lesson-finished.eml").read_bytes(), policy=policy.SMTP)
    assert message["To"] == "Person 1 <person1@example.org>"
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_says_whether_and_when_the_email_would_go(studied: Desk) -> None:
    found = studied.as_json("preview", "course-finished", "--as", "1")
    assert found["rule"] == "congratulate-course"
    [email] = found["expected"]["emails"]
    assert (email["state"], email["reason"]) == ("done", None)
    assert studied.run("pause", "--all").exit_code == 0
    said = studied.run("preview", "course-finished", "--as", "1").stdout
    assert "If course_completed happened now:\n  congratulate-course: held: " in said
    said = studied.run("preview", "stalled", "--as", "1").stdout
    assert "No enabled rule sends stalled." in said


def test_it_says_why_an_email_would_go_and_on_whose_clock(studied: Desk) -> None:
    said = studied.run("preview", "course-finished", "--as", "1").stdout
    assert ": the rule is on, and nothing holds it back\n" in said
    with writing(studied.space.engine) as connection:
        connection.execute(people.update().values(zone="Asia/Tokyo"))
    [email] = studied.as_json("preview", "course-finished", "--as", "1")["expected"]["emails"]
    assert email["zone"] == "Asia/Tokyo"
    email["at"] = datetime.fromisoformat(email["at"])
    elsewhere = ImaginedEmail(**email | {"zone": "Asia/Kathmandu"})
    [line] = imagined_lines(Imagined(None, (elsewhere,)))
    theirs = elsewhere.at + timedelta(hours=5, minutes=45)
    assert f" ({theirs:%Y-%m-%d %H:%M} in Asia/Kathmandu): the rule is on" in line
    [line] = imagined_lines(Imagined(None, (ImaginedEmail(**email | {"zone": "UTC"}),)))
    assert " in UTC" not in line


def test_what_happens_once_and_was_sent_is_not_said_to_go_again(desk: Desk) -> None:
    member = desk.space.enrol(1)
    desk.space.work()
    desk.space.finish(member, 1, 2, 3)
    desk.space.work()
    for template, kind, rule in (
        ("welcome", "enrolled", "welcome"),
        ("course-finished", "course_completed", "congratulate-course"),
    ):
        said = desk.run("preview", template, "--as", "1").stdout
        assert re.search(
            rf"^{kind} happened at \S+ \S+ \S+, and does not happen again:\n"
            rf"  {rule}: It was sent on \S+ \S+ \S+ and is not sent again; "
            rf"to see it: coursebell show \d+$",
            said,
            re.MULTILINE,
        )
        assert "happened now" not in said
        found = desk.as_json("preview", template, "--as", "1")
        assert found["expected"] is None
        [event] = found["earlier"]
        assert [(one["rule"], one["state"]) for one in event["emails"]] == [(rule, "done")]


def test_what_happened_once_and_led_to_no_email_is_said_with_its_reason(desk: Desk) -> None:
    shipped, desk.space.rules = desk.space.rules, rules_of("version: 1\nrules: []\n")
    desk.space.enrol(1)
    desk.space.work()
    desk.space.rules = shipped
    said = desk.run("preview", "welcome", "--as", "1").stdout
    assert re.search(r"again:\n  No email: .*\[kind-off\]\n", said)


def test_of_an_email_that_was_sent_again_the_last_is_named(desk: Desk) -> None:
    desk.refuse(1)
    desk.space.mailer.accept("person1@example.org")
    assert "  welcome: Failed: " in desk.run("preview", "welcome", "--as", "1").stdout
    assert desk.run("resend", "1", "--yes").exit_code == 0
    desk.space.later(minutes=1)
    [event] = desk.as_json("preview", "welcome", "--as", "1")["earlier"]
    assert [(one["action_id"], one["state"]) for one in event["emails"]] == [(2, "done")]


def test_an_enrolment_that_asks_anew_is_not_taken_for_the_one_before(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = "version: 1\nrules:\n  - {name: asks, event: enrolment_requested, action: email, "
    rules += "template: notice, to: office@example.org}\n"
    (tmp_path / "asks.yaml").write_text(rules)
    monkeypatch.setenv("COURSEBELL_RULES", str(tmp_path / "asks.yaml"))
    desk.space.rules = rules_of(rules)
    desk.space.enrol(1, approved=False)
    desk.space.work()
    assert len(desk.as_json("preview", "notice", "--as", "1")["earlier"]) == 1
    desk.space.source.lose(Entity.COURSE_MEMBER, 9001)
    desk.space.notify(Entity.COURSE_MEMBER, 9001)
    desk.space.later(days=1)
    asked_at = desk.space.clock.now()
    desk.space.enrol(1, record_id=9100, approved=False)
    desk.space.work()
    [event] = desk.as_json("preview", "notice", "--as", "1")["earlier"]
    assert datetime.fromisoformat(event["happened_at"]) == asked_at


def test_what_happened_once_and_is_held_is_said_to_be_held(desk: Desk) -> None:
    desk.space.choose(Mode.OBSERVE)
    desk.space.enrol(1)
    desk.space.work()
    said = desk.run("preview", "welcome", "--as", "1").stdout
    assert re.search(r"\n  welcome: Held for a person: .*\[observe\]; to see it: ", said)


@pytest.mark.parametrize("template", ["lesson-finished", "stalled", "notice"])
def test_the_files_of_a_preview_cannot_act_for_the_member(
    studied: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str
) -> None:
    monkeypatch.setenv("COURSEBELL_PUBLIC_URL", "https://courses.harbour.example")
    monkeypatch.setenv("COURSEBELL_SECRET_KEY", "a-key-of-this-test-that-makes-links")
    assert studied.run("preview", template, "--as", "1").exit_code == 0
    files = {one.suffix: one.read_bytes() for one in (tmp_path / "preview").iterdir()}
    for content in files.values():
        assert b"courses.harbour.example" not in content
    message = message_from_bytes(files[".eml"], policy=policy.SMTP)
    assert message["List-Unsubscribe"] is None
    assert message["List-Unsubscribe-Post"] is None
    assert b"link-of-a-test.invalid" in files[".txt"]
    is_to_member = template != "notice"
    assert (b"https://portal.example/" in files[".txt"]) is is_to_member  # a wrong one would show


@pytest.mark.parametrize("template", ["stalled", "not-started"])
def test_without_a_rule_a_reminder_is_shown_as_a_reminder(
    studied: Desk, tmp_path: Path, template: str
) -> None:
    shown = studied.run("preview", template, "--as", "1")
    assert f"{template}." in shown.stdout  # no rule sends it
    content = (tmp_path / "preview" / f"{template}.eml").read_bytes()
    message = message_from_bytes(content, policy=policy.SMTP)
    assert ":reminder" in message["Feedback-ID"]
    assert "Course reminders" in message["List-Id"]


def test_another_language_can_be_chosen(studied: Desk) -> None:
    said = studied.run("preview", "welcome", "--as", "1", "--language", "de").stdout
    assert said.startswith("Subject: Du bist dabei: Freelance Finance\n")
    refused = studied.run("preview", "welcome", "--as", "1", "--language", "xx")
    assert refused.exit_code == 2


@pytest.mark.parametrize("template", ["welcome", "lesson-available", "not-started", "stalled"])
def test_each_email_can_be_written_before_anything_was_finished(desk: Desk, template: str) -> None:
    desk.space.enrol(1)
    desk.space.work()
    shown = desk.run("preview", template, "--as", "1", "--folder", "made/for/it")
    assert shown.exit_code == 0, shown.output
    assert Path(f"made/for/it/{template}.html").exists()


def test_who_finished_nothing_is_shown_the_email_about_the_first_lesson(desk: Desk) -> None:
    desk.space.enrol(1)
    desk.space.work()
    assert "You finished “Lesson 1”" in desk.run("preview", "lesson-finished", "--as", "1").stdout
    written = Path("preview/lesson-finished.txt").read_text(encoding="utf-8")
    assert "1 of 3 lessons" in written
    assert "Next is “Lesson 2”." in written


def test_without_a_known_member_or_course_nothing_is_written(studied: Desk, tmp_path: Path) -> None:
    for words in (["--as", "nobody@example.org"], ["--as", "1", "--course", "9999"]):
        assert studied.run("preview", "welcome", *words).exit_code == 1
    assert not (tmp_path / "preview").exists()


def test_a_test_email_is_marked_counts_for_nothing_and_its_links_are_dead(
    studied: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(studied.space.engine) as connection:
        before = [connection.execute(table.select()).all() for table in (actions, attempts)]
    with ScriptedSmtp() as server:
        monkeypatch.setenv("COURSEBELL_SMTP_URL", f"smtp://127.0.0.1:{server.port}?tls=none")
        for _ in range(2):
            sent = studied.run("test", "welcome", "--to", "me@example.org", "--as", "1")
            assert sent.exit_code == 0, sent.output
    assert sent.stdout.startswith("Sent: [Test] You're in: Freelance Finance\n")
    assert "rcpt TO:<me@example.org>" in server.commands
    first, second = (message_from_bytes(one, policy=policy.SMTP) for one in server.texts)
    assert first["Subject"] == "[Test] You're in: Freelance Finance"
    assert first["To"] == "me@example.org"
    assert first["Message-ID"] != second["Message-ID"]
    body = first.get_body(("plain",))
    assert body is not None
    assert "https://link-of-a-test.invalid/" in body.get_content()
    assert b"portal.example" not in server.texts[0]
    with reading(studied.space.engine) as connection:
        after = [connection.execute(table.select()).all() for table in (actions, attempts)]
    assert after == before


def test_a_test_email_that_cannot_be_sent_says_how_to_find_out_why(
    studied: Desk,
) -> None:
    failed = studied.run("test", "welcome", "--to", "me@example.org", "--as", "1")
    assert failed.exit_code == 4
    assert "set COURSEBELL_SMTP_URL" in failed.stderr
    assert "coursebell doctor --mail me@example.org" in failed.stderr
    refused = studied.run(
        "test", "welcome", "--to", "two@example.org, three@example.org", "--as", "1"
    )
    assert refused.exit_code == 1
    assert "cannot be written" in refused.stderr
