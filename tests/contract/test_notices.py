"""Emails to the host of a course and to fixed addresses, from the rules to the mail server."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import select, update

from ledger.choices import address_hash, choice_keys, choices_of, store_choices
from ledger.controls import accept_forecast
from ledger.engine import Engine, reading, writing
from ledger.history import sent_emails
from ledger.mail_reports import store_reports
from ledger.outcomes import LedgerAction, outcomes_of
from ledger.people import person_of
from ledger.retention import delete_old
from ledger.tables import actions, copies, records
from schemas.actions import HOST, Mode, audience_of
from schemas.choices import Choice
from schemas.entity import Entity
from schemas.mail_reports import MailReport, Provider, ReportKind
from schemas.reasons import Reason
from tests.builders.records import course
from tests.contract.desk_rig import Desk
from tests.contract.ledger_rig import BOTH, rows
from tests.contract.study_rig import HASH_KEY, Space, coworker, rules_of
from tests.doubles.mail_server import Mailbox, mail_server, server_at
from workers.actions.email.message import read_message, reference
from workers.actions.email.smtp import Mailer
from workers.mail_reports import apply_reports

pytestmark = pytest.mark.engines("sqlite")
DESK, OFFICE, RITA = "desk@example.org", "office@example.org", "okafor@example.org"
HOST_ID = 500
FILE = f"""version: 1
timing: {{quiet_hours: none, flood: none, spread: none, cap_per_day: 1, cap_per_week: none}}
rules:
  - {{name: tell-host, event: enrolled, action: email, template: notice, to: host}}
  - {{name: tell, event: enrolled, action: email, template: notice, to: [{DESK}, {OFFICE}]}}
  - {{name: welcome, event: enrolled, action: email, template: welcome}}
"""
SENT = ("done", None)
HARD = ReportKind.HARD_BOUNCE


def with_host(space: Space, **different: Any) -> Space:  # noqa: ANN401 - any field of the host
    space.source.have(Entity.COURSE, course(host_id=HOST_ID, host_name="Rita Okafor"))
    named = {"full_name": "Rita Okafor", "first_name": "Rita", "email": RITA}
    space.source.have(Entity.COWORKER, coworker(HOST_ID, **(named | different)))
    return space


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    """Give a space whose course has a host."""
    return with_host(Space(ledger_engine, rules_of(FILE)))


def ends(space: Space) -> dict[str, tuple[str, str | None]]:
    """Return state and reason of each action, by its rule and whom it is to."""
    words = {None: "member", HOST: "host", audience_of(DESK): "desk", audience_of(OFFICE): "office"}
    with reading(space.engine) as connection:
        rows = connection.execute(select(actions).order_by(actions.c.id)).all()
    return {f"{row.rule} {words[row.audience]}": (row.state, row.reason) for row in rows}


def recipients(space: Space) -> list[str]:
    return sorted(mail.recipient for mail in space.mailer.caught)


@pytest.mark.engines(*BOTH)
def test_the_host_and_each_address_get_one_email_from_a_real_server(ledger_engine: Engine) -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as port:
        space = with_host(Space(ledger_engine, rules_of(FILE), mailer=Mailer(server_at(port))))  # type: ignore[arg-type]  # same interface
        space.enrol(1)
        space.work()
        space.notify(Entity.COURSE_MEMBER, 9001)
        space.work()
    arrived = {recipient: body for _, recipient, body in mailbox.arrived}
    assert sorted(arrived) == [DESK, OFFICE, RITA, "person1@example.org"]
    assert len(mailbox.arrived) == 4
    told = read_message(arrived[RITA]).text
    assert told.startswith("Person 1 has a place on Freelance Finance\n\nHello Rita,\n\n")
    assert "To reach Person 1, open their profile in Nexudus.\n" in told
    assert "because you are the host of this course." in " ".join(told.split())
    desk = read_message(arrived[DESK]).text
    assert "\n\nHello,\n\n" in desk
    assert "person1@example.org" not in told + desk
    # No link can be opened without a public address.
    assert b"List-Unsubscribe" not in arrived[RITA] + arrived[DESK]
    assert set(ends(space).values()) == {SENT}


@pytest.mark.engines(*BOTH)
def test_notices_do_not_use_up_the_limit_of_the_member(space: Space) -> None:
    space.enrol(1)
    space.work()
    assert ends(space)["welcome member"] == SENT
    with reading(space.engine) as connection:
        every = sent_emails(connection, space.clock.now() - timedelta(days=1))
    assert sorted(str(one.audience) for one in every.values()) == sorted(
        ["None", HOST, str(audience_of(DESK)), str(audience_of(OFFICE))]
    )


@pytest.mark.engines(*BOTH)
def test_no_address_is_in_the_ledger_but_in_copies_and_people(space: Space) -> None:
    space.enrol(1)
    space.work()
    with reading(space.engine) as connection:
        rows = connection.execute(select(actions)).all()
    assert "@" not in " ".join(str(one) for row in rows for one in row)


def test_the_address_of_the_host_is_read_just_before(space: Space) -> None:
    space.enrol(1)
    space.look_up()
    with_host(space, email="new@example.org")
    space.work()
    assert "new@example.org" in recipients(space)
    with_host(space, email="newer@example.org")
    space.clock.time += timedelta(minutes=2)
    space.enrol(2)
    space.work()
    assert "newer@example.org" in recipients(space)


def gone(space: Space) -> None:
    space.source.lose(Entity.COWORKER, HOST_ID)


def without_host(space: Space) -> None:
    space.source.have(Entity.COURSE, course())


def without_address(space: Space) -> None:
    with_host(space, email=None)


def inactive(space: Space) -> None:
    with_host(space, active=False)


@pytest.mark.parametrize("happens", [gone, without_host, without_address, inactive])
def test_a_host_who_cannot_be_written_to_is_skipped(
    space: Space, happens: Callable[[Space], None]
) -> None:
    happens(space)
    space.enrol(1)
    space.work()
    assert ends(space) == {
        "tell-host host": ("skipped", "no-email"),
        "tell desk": SENT,
        "tell office": SENT,
        "welcome member": SENT,
    }


def refuse_all(space: Space, address: str) -> None:
    with writing(space.engine) as connection:
        hashed = address_hash(address.upper(), "a-key-for-hashes")
        no = Choice(agreed=False, chosen_at=space.clock.now())
        store_choices(connection, [hashed], {"all": no})


@pytest.mark.parametrize("address", [RITA, DESK])
def test_a_recipient_who_wants_no_emails_gets_none(space: Space, address: str) -> None:
    refuse_all(space, address)
    space.enrol(1)
    space.work()
    assert address not in recipients(space)
    assert ("skipped", "opted-out-all") in ends(space).values()
    assert len(recipients(space)) == 3


def test_a_recipient_may_refuse_until_the_last_step(space: Space) -> None:
    space.enrol(1)
    space.mailer.meanwhile(lambda: refuse_all(space, RITA))
    space.work()
    assert ends(space)["tell-host host"] == ("skipped", "opted-out-all")
    assert recipients(space) == [DESK, OFFICE, "person1@example.org"]


def stop_notices(space: Space, address: str, rule: str) -> None:
    with writing(space.engine) as connection:
        no = Choice(agreed=False, chosen_at=space.clock.now())
        store_choices(connection, [address_hash(address, HASH_KEY)], {f"by/{rule}": no})


@pytest.mark.engines(*BOTH)
@pytest.mark.parametrize(
    ("address", "rule", "stopped"),
    [
        (RITA, "tell-host", "tell-host host"),
        (DESK, "tell", "tell desk"),
        (DESK, "tell-host", None),
        ("person1@example.org", "welcome", None),
    ],
)
def test_a_recipient_stops_the_notices_of_one_rule_and_nothing_else(
    space: Space, address: str, rule: str, stopped: str | None
) -> None:
    stop_notices(space, address, rule)
    space.enrol(1)
    space.work()
    found = ends(space)
    assert {name for name, end in found.items() if end != SENT} == ({stopped} - {None})
    if stopped is not None:
        assert found[stopped] == ("skipped", "opted-out-kind")


def test_notices_may_be_stopped_until_the_last_step(space: Space) -> None:
    space.enrol(1)
    space.mailer.meanwhile(lambda: stop_notices(space, RITA, "tell-host"))
    space.work()
    assert ends(space)["tell-host host"] == ("skipped", "opted-out-kind")


def test_what_the_member_refuses_does_not_stop_a_notice_at_the_last_step(space: Space) -> None:
    space.enrol(1)
    space.mailer.meanwhile(lambda: refuse_all(space, "person1@example.org"))
    space.work()
    assert ends(space)["tell-host host"] == SENT
    assert ends(space)["welcome member"] == ("skipped", "opted-out-all")


@pytest.mark.engines(*BOTH)
def test_an_address_that_left_the_file_gets_nothing_and_the_order_does_not_matter(
    space: Space,
) -> None:
    space.enrol(1)
    space.look_up()
    space.rules = rules_of(FILE.replace(f"[{DESK}, {OFFICE}]", f"[new@example.org, {DESK}]"))
    space.work()
    assert recipients(space) == [DESK, RITA, "person1@example.org"]
    assert ends(space)["tell office"] == ("skipped", "kind-off")


def test_a_rule_that_is_now_to_the_member_sends_the_host_nothing(space: Space) -> None:
    space.enrol(1)
    space.look_up()
    space.rules = rules_of(FILE.replace("template: notice, to: host", "template: welcome"))
    space.work()
    assert ends(space)["tell-host host"] == ("skipped", "kind-off")
    assert recipients(space) == [DESK, OFFICE, "person1@example.org"]


@pytest.mark.engines(*BOTH)
def test_a_course_stored_by_an_earlier_version_gets_its_host_when_needed(space: Space) -> None:
    space.enrol(1)
    space.look_up()
    is_course = records.c.entity == Entity.COURSE
    with writing(space.engine) as connection:
        [stored] = connection.scalars(select(records.c.record).where(is_course))
        assert stored.pop("HostId") == HOST_ID
        connection.execute(update(records).where(is_course).values(record=stored))
    space.work()
    assert RITA in recipients(space)
    with reading(space.engine) as connection:
        [stored] = connection.scalars(select(records.c.record).where(is_course))
    assert stored["HostId"] == HOST_ID


def test_a_host_who_is_the_member_is_read_once(space: Space) -> None:
    space.source.have(Entity.COURSE, course(host_id=1))
    space.enrol(1)
    space.work()
    assert recipients(space) == [DESK, OFFICE, "person1@example.org", "person1@example.org"]


@pytest.mark.engines(*BOTH)
def test_the_end_of_a_course_replaces_lessons_for_each_recipient_alone(space: Space) -> None:
    space.rules = rules_of(
        "version: 1\ntiming: {quiet_hours: none, flood: none, spread: none, cap_per_day: none}\n"
        "rules:\n"
        "  - {name: lesson, event: lesson_completed, action: email, template: lesson-finished,"
        " gather: 30m, gather_at_most: 3h}\n"
        "  - {name: tell, event: lesson_completed, action: email, template: notice, to: host,"
        " gather: 30m, gather_at_most: 3h}\n"
        "  - {name: end, event: course_completed, action: email, template: notice, to: host}\n"
    )
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.work()
    space.finish(member, 2, 3)
    space.later(minutes=40)
    assert ends(space) == {
        "lesson member": SENT,
        "tell host": ("skipped", "superseded"),
        "end host": SENT,
    }
    assert sorted(space.subjects) == [
        "3 lessons done in Freelance Finance",
        "Person 1 has finished Freelance Finance",
    ]


def test_one_email_to_the_host_gathers_the_lessons_of_a_sitting(space: Space) -> None:
    space.rules = rules_of(
        "version: 1\ntiming: {quiet_hours: none, spread: none}\nrules:\n"
        f"  - {{name: tell, event: lesson_completed, action: email, template: notice,"
        f" to: [host, {DESK}], gather: 30m, gather_at_most: 3h}}\n"
    )
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.later(minutes=10)
    space.finish(member, 2)
    space.later(minutes=40)
    assert recipients(space) == [DESK, RITA]
    text = read_message(space.mailer.caught[0].content).text
    assert text.startswith("Person 1 has finished 2 lessons of Freelance Finance\n")
    assert "- Lesson 1\n- Lesson 2\n\n2 of 3 lessons\n" in text


def test_a_brake_counts_every_email_of_its_rule(space: Space) -> None:
    space.rules = rules_of(FILE.replace("name: tell,", "name: tell, brake: 1x,"))
    with writing(space.engine) as connection:
        accept_forecast(connection, {"tell": 1}, "digest", "Rita", space.clock.now())
    for number in range(1, 5):
        space.enrol(number)
    space.work()
    with reading(space.engine) as connection:
        rows = connection.execute(select(actions).where(actions.c.rule == "tell")).all()
    found = sorted((row.state, row.reason) for row in rows)
    assert found == [("done", None)] * 5 + [("held", "over-forecast")] * 3


def test_the_outcome_of_an_event_is_that_of_the_members_email(space: Space) -> None:
    space.source.have(Entity.COURSE, course(host_id=HOST_ID))
    space.enrol(1)
    space.source.have(Entity.COWORKER, coworker(1, email=None))
    space.work()
    assert ends(space)["welcome member"] == ("skipped", "no-email")
    with reading(space.engine) as connection:
        found = outcomes_of(connection, [1], space.clock.now(), space.clock.now())
    audiences = {one.audience for one in found.effects.values()}
    assert len(audiences) == 4
    assert all(isinstance(one, LedgerAction) for one in found.effects.values())


def test_the_copy_of_a_notice_is_deleted_after_ninety_days_and_the_host_is_kept(
    space: Space,
) -> None:
    space.enrol(1)
    space.work()
    for days in range(1, 93):
        delete_old(space.engine, space.clock.now() + timedelta(days=days))
    with reading(space.engine) as connection:
        assert connection.execute(select(copies)).all() == []
        host = person_of(connection, HOST_ID)
    assert host is not None
    assert host.email == RITA


@pytest.fixture
def office(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Give a desk whose rules also write to others."""
    (tmp_path / "others.yaml").write_text(FILE, encoding="utf-8")
    monkeypatch.setenv("COURSEBELL_RULES", str(tmp_path / "others.yaml"))
    desk.space.rules = rules_of(FILE)
    with_host(desk.space)
    return desk


def run(desk: Desk, *words: str) -> Result:
    found = desk.run(*words)
    assert found.exit_code == 0, found.output
    return found


def test_commands_say_to_whom_an_email_is(office: Desk) -> None:
    office.space.choose(Mode.OBSERVE)
    office.space.enrol(1)
    office.space.work()
    held = run(office, "held").stdout
    assert "  Person 1, to the host <o***@example.org>  Person 1 has a place on" in held
    assert "  Person 1, to a fixed address <d***@example.org>  Person 1 has a place on" in held
    assert "  Person 1 <p***@example.org>  You're in: Freelance Finance" in held
    listed = office.as_json("held")["actions"]
    assert [(one["to"], one["email"]) for one in listed] == [
        ("host", "o***@example.org"),
        ("address", "d***@example.org"),
        ("address", "o***@example.org"),
        ("member", "p***@example.org"),
    ]
    shown = run(office, "show", "1").stdout
    assert "About:      Person 1, to the host\n" in shown
    assert "To:         the host <o***@example.org>\n" in shown
    assert office.as_json("show", "2")["to"] == "address"
    tail = run(office, "tail", "--no-follow").stdout
    assert ", to the host  1  Held for a person" in tail
    assert RITA not in held + shown + tail
    whole = run(office, "held", "--show-addresses").stdout
    assert f"Person 1, to the host <{RITA}>" in whole


def test_why_answers_about_the_members_own_email(office: Desk) -> None:
    office.space.mailer.answer("person1@example.org", "550 5.1.1 no such person")
    office.space.enrol(1)
    office.space.work()
    told = run(office, "why", "1").stdout
    answer = told.splitlines()[1]
    assert "Email 4 about it failed" in answer
    assert '    1  Sent, to the host <o***@example.org> "Person 1 has a place on' in told
    [person] = json.loads(run(office, "why", "1", "--json").stdout)
    of_event = [one for each in person["events"] for one in each["actions"]]
    assert [one["to"] for one in of_event] == ["host", "address", "address", "member"]
    assert of_event[0]["email"] == "o***@example.org"
    assert "recipient" not in of_event[0]
    assert RITA not in told + json.dumps(person)


def test_why_does_not_take_an_email_to_others_for_one_to_the_member(office: Desk) -> None:
    alone = "\n".join(line for line in FILE.splitlines() if "name: welcome" not in line)
    office.space.rules = rules_of(alone)
    office.space.enrol(1)
    office.space.work()
    told = run(office, "why", "1").stdout
    assert "No email to them was planned, but 3 emails to others." in told.splitlines()[1]


def test_a_notice_that_failed_is_sent_again_to_the_same_recipient(office: Desk) -> None:
    office.space.mailer.answer(RITA, "550 5.1.1 no such person")
    office.space.enrol(1)
    office.space.work()
    listed = run(office, "resend", "--failed", "mail-rejected", "--dry-run").stdout
    assert "  1  Person 1, to the host  <o***@example.org>  Person 1 has a place on" in listed
    office.space.mailer.accept(RITA)
    run(office, "resend", "1", "--yes")
    office.space.later(minutes=5)
    assert recipients(office.space).count(RITA) == 1
    assert recipients(office.space).count("person1@example.org") == 1


def test_simulations_and_plans_count_others_apart(office: Desk, tmp_path: Path) -> None:
    office.space.rules = rules_of(
        "version: 1\nrules:\n  - {name: w, event: enrolled, action: email, template: welcome}\n"
    )
    office.space.enrol(1)
    office.space.enrol(2)
    office.space.work()
    played = run(office, "simulate", "--rules", str(tmp_path / "others.yaml")).stdout
    assert "2 emails to 2 people, and 6 to others" in played
    assert "  tell: 4 sent" in played
    assert "    + tell-host: Person 1, to the host  (Freelance Finance)" in played
    assert "  most to one person: 1" in played
    as_json = office.as_json("simulate", "--rules", str(tmp_path / "others.yaml"))
    assert (as_json["people"], as_json["to_others"]) == (2, 6)
    imagined = run(office, "simulate", "--event", "enrolled", "--person", "1").stdout
    assert "tell-host, to the host: sent at" in imagined
    assert imagined.count("tell, to a fixed address: sent at") == 2


def test_rules_plan_says_whose_email_changes(office: Desk, tmp_path: Path) -> None:
    office.space.choose(Mode.OBSERVE)
    office.space.enrol(1)
    office.space.work()
    changed = tmp_path / "fewer.yaml"
    changed.write_text(FILE.replace(f", {OFFICE}]", "]"), encoding="utf-8")
    told = run(office, "rules", "plan", str(changed)).stdout
    assert "  3, to a fixed address: now if released, it is sent at once" in told
    assert f"[{Reason.KIND_OFF}]" in told


def test_going_to_sending_counts_recipients(office: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSEBELL_SMTP_URL", "smtp://127.0.0.1:25?tls=none")
    office.space.choose(Mode.OBSERVE)
    office.space.enrol(1)
    office.space.look_up()
    asked = office.run("mode", "sending", "--yes")
    assert "With mode sending, 4 emails to 4 people would be sent" in asked.output


def test_a_notice_can_be_previewed_and_says_whom_it_would_go_to(
    office: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    office.space.enrol(1)
    office.space.work()
    shown = run(office, "preview", "notice", "--as", "1").stdout
    assert "Subject: Person 1 has a place on Freelance Finance\n" in shown
    assert "To:      the host <o***@example.org>\n" in shown
    assert "  tell-host, to the host: It was sent on" in shown
    assert (tmp_path / "preview" / "notice.txt").read_text().startswith("Person 1 has a place on")


def test_a_notice_that_no_rule_sends_is_previewed_for_a_host_who_was_never_read(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with_host(desk.space)
    desk.space.enrol(1)
    desk.space.work()
    shown = run(desk, "preview", "notice", "--as", "1", "--language", "de").stdout
    assert "To:      the host <h***@example.invalid>\n" in shown
    assert "No enabled rule sends notice." in shown
    assert b"List-Id: Course emails" in (tmp_path / "preview" / "notice.eml").read_bytes()


@pytest.mark.engines(*BOTH)
def test_notices_are_counted_apart_in_a_flood(space: Space) -> None:
    space.rules = rules_of(FILE.replace("flood: none", "flood: 3/10m"))
    for number in (1, 2, 3):
        space.enrol(number)
    space.work()
    assert set(ends(space).values()) == {SENT}
    assert len(recipients(space)) == 12
    space.enrol(4)
    space.work()
    assert set(ends(space).values()) == {("held", "flood-guard")}


def test_a_host_and_an_address_that_bounced_get_no_more_emails_and_the_others_do(
    space: Space,
) -> None:
    space.enrol(1)
    space.work()
    now, sent = space.clock.now(), {HOST: RITA, audience_of(DESK): DESK}
    bounces = [
        MailReport(
            Provider.BREVO, ReportKind.HARD_BOUNCE, row.key, now, address, reference(row.key)
        )
        for row in rows(space.engine, actions)
        if (address := sent.get(row.audience)) is not None
    ]
    complaint = replace(bounces[0], kind=ReportKind.COMPLAINT)
    with writing(space.engine) as connection:
        hashed = partial(address_hash, secret_key=HASH_KEY)
        store_reports(connection, [*bounces, complaint], hashed, now)
    apply_reports(space.engine, HASH_KEY, space.clock)
    space.enrol(2)
    space.later(days=2)
    bounced = ("skipped", "bounced-before")
    assert ends(space) == {
        "tell-host host": bounced,
        "tell desk": bounced,
        "tell office": SENT,
        "welcome member": SENT,
    }
    with reading(space.engine) as connection:
        assert choices_of(connection, choice_keys(HASH_KEY, HOST_ID, RITA)).agreed == {"all": False}
        assert choices_of(connection, choice_keys(HASH_KEY, 1, None)).agreed == {}
