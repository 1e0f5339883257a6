"""`show` and `resend` as a person gives them, about a space with real rules and emails."""

import stat
from datetime import timedelta

from ledger.clock import SYSTEM_CLOCK
from ledger.engine import writing
from ledger.records import mark_gone
from ledger.retention import delete_old
from ledger.tables import actions, copies, people
from schemas.actions import Mode
from schemas.entity import Entity
from schemas.reasons import EXPLANATIONS, Reason
from tests.builders.records import COURSE_ID
from tests.contract.desk_rig import Desk


def test_the_command_lists_whom_it_would_email_about_what_and_asks(desk: Desk) -> None:
    desk.refuse(1, 2)
    listed = desk.run("resend", "--failed", "mail-rejected", "--dry-run")
    assert listed.exit_code == 0
    assert "  1  Person 1  <p***@example.org>  You're in: Freelance Finance  (Failed" in (
        listed.stdout
    )
    assert "2 emails would be sent again. Nothing was changed." in listed.stdout
    unasked = desk.run("resend", "--failed", "mail-rejected", "--since", "3h", "--i-checked")
    assert unasked.exit_code == 3
    assert "--failed mail-rejected --since 20" in unasked.stderr
    assert unasked.stderr.endswith(" --i-checked --yes\n")
    assert len(desk.space.outcomes()) == 2
    assert desk.as_json("resend", "2", "--yes") == {"resent": [{"id": 2, "new_id": 3}]}
    done = desk.run("resend", "--failed", "mail-rejected", "--yes")
    assert done.stdout == "1 email will be sent again, due now: 1 as 4.\n"
    nothing = desk.run("resend", "--failed", "mail-rejected", "--yes")
    assert (nothing.exit_code, nothing.stdout[:35]) == (0, "Nothing that failed for mail-reject")


def test_the_command_refuses_with_the_command_that_applies(desk: Desk) -> None:
    space = desk.space
    space.enrol(1)
    space.look_up()
    with writing(space.engine) as connection:
        connection.execute(actions.update().values(state="held", reason="too-old"))
    assert desk.as_json("held")["actions"][0]["course"] == "Freelance Finance"
    desk.refuse(2)
    space.enrol(3)
    space.look_up()
    for wrong in ([], ["1", "--failed", "too-old"], ["1", "--since", "7d"]):
        assert desk.run("resend", *wrong).exit_code == 2
    for action_id, sentence in (
        ("1", "it is held. To send it: coursebell release 1."),
        ("3", "it was not sent yet and needs no resend. To see when: coursebell show 3."),
        ("77", "there is no such email."),
    ):
        answer = desk.run("resend", "2", action_id, "--yes")
        assert (answer.exit_code, answer.stdout) == (1, "")
        assert f"Email {action_id}: {sentence}"[:-1] in answer.stderr
    assert desk.run("resend", "2", "--yes").exit_code == 0
    assert "Email 2, sent again as 4: it was not sent" in desk.run("resend", "2", "--yes").stderr
    space.choose(Mode.OBSERVE)
    assert "First: coursebell mode sending" in desk.run("resend", "2", "--yes").stderr


def test_in_observe_mode_every_listed_email_can_be_shown(desk: Desk) -> None:
    space = desk.space
    space.choose(Mode.OBSERVE)
    space.enrol(1)
    space.work()
    [email] = desk.as_json("held")["actions"]
    shown = desk.run("show", str(email["action_id"]))
    assert shown.exit_code == 0, shown.output
    assert f"Subject:    {email['subject']}\n" in shown.stdout
    head, _, text = shown.stdout.partition("\n\n")
    assert f"Held for a person: {EXPLANATIONS[Reason.OBSERVE].sentence} [observe]" in head
    assert "To:         Person 1 <p***@example.org>" in head
    assert "Subject:    You're in: Freelance Finance" in head
    assert "Next:       To send it: coursebell mode sending, then coursebell release 1" in head
    assert "coursebell mode sending; it first counts what would be sent" in desk.run("held").stdout
    assert text.startswith("You're in: Freelance Finance\n\nHello Person,\n")
    for words in (("why", "1"), ("tail", "--no-follow")):
        assert "  1  held" in desk.run(*words).stdout.lower()


def test_an_email_that_was_never_written_is_written_from_the_ledger(desk: Desk) -> None:
    space = desk.space
    member = space.enrol(1)
    space.look_up()
    draft = desk.as_json("show", "1")
    assert (draft["state"], draft["is_draft"]) == ("planned", True)
    assert draft["missing"] == [
        "The lessons of Freelance Finance were not read yet, so those it would name are left out"
    ]
    space.work()
    space.finish(member, 1)
    space.look_up()
    draft = desk.as_json("show", "2", "--show-addresses")
    space.work()
    [_, sent] = space.mailer.caught
    assert draft["missing"] == []
    assert draft["email"]["subject"] == str(sent.message["Subject"])
    assert draft["email"]["to"] == "Person 1 <person1@example.org>"
    assert draft["email"]["message_id"] == str(sent.message["Message-ID"])
    text, html = (one.get_content() for one in sent.message.iter_parts())
    assert (draft["email"]["text"], draft["email"]["html"]) == (text, html)


def test_a_sent_email_is_shown_as_sent_while_its_copy_is_kept(desk: Desk) -> None:
    space = desk.space
    space.enrol(1)
    space.work()
    file = desk.folder / "email.html"
    shown = desk.run("show", "1", "--html", str(file))
    [sent] = space.mailer.caught
    assert f"Date:       {sent.message['Date']}" in shown.stdout
    assert "Answer:     250 2.0.0 caught as 1" in shown.stdout
    [_, html] = sent.message.iter_parts()
    assert file.read_text(encoding="utf-8") == html.get_content()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text("mine")
    assert desk.run("show", "1", "--html", str(file)).exit_code == 3
    assert file.read_text() == "mine"
    assert desk.run("show", "1", "--html", str(file), "--yes").exit_code == 0
    with writing(space.engine) as connection:
        long_ago = SYSTEM_CLOCK.now() - timedelta(days=91)
        connection.execute(actions.update().values(finished_at=long_ago))
        connection.execute(copies.update().values(written_at=long_ago))
    delete_old(space.engine, SYSTEM_CLOCK.now())
    gone = desk.run("show", "1")
    assert gone.exit_code == 1
    assert "deleted, as copies are 90 days after an email was written" in gone.stderr


def test_missing_records_are_named_without_an_error(desk: Desk) -> None:
    space = desk.space
    space.enrol(1)
    space.look_up()
    with writing(space.engine) as connection:
        connection.execute(people.delete())
        mark_gone(connection, Entity.COURSE, COURSE_ID, SYSTEM_CLOCK.now())
    gone = desk.run("show", "1")
    assert gone.exit_code == 1
    assert gone.stderr.splitlines()[:2] == [
        f"Nexudus no longer has the course {COURSE_ID}.",
        "The person (coworker 1) is not in the ledger.",
    ]
    assert "There is no email 77." in desk.run("show", "77").stderr
