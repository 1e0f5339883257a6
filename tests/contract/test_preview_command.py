"""`coursebell preview` writes an email from a member's data; `coursebell test` sends one to you."""

import stat
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from ledger.engine import reading
from ledger.tables import actions, attempts
from tests.contract.desk_rig import Desk
from tests.doubles.scripted_smtp import ScriptedSmtp

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
