"""Digests to hosts and fixed addresses, and the summary on Mondays, up to the mail server."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from ledger.choices import address_hash, store_choices
from ledger.engine import Engine, reading, writing
from ledger.heartbeats import Gap, open_gap
from ledger.pauses import (
    Pause,
    PauseScope,
    begin_pause,
    end_pauses,
    open_pauses,
    reports_among,
    reports_held_by,
)
from ledger.reports import Report, ReportPlan
from ledger.suppressions import Suppression, suppress
from ledger.tables import report_copies, reports
from schemas.actions import HOST, ActionState, Mode, Outcome
from schemas.choices import Choice, report_choice
from schemas.entity import Entity
from schemas.errors import SourceUnavailable
from schemas.mail_reports import Provider, ReportKind
from schemas.reasons import Reason
from tests.builders.records import NOON, course
from tests.contract.ledger_rig import BOTH
from tests.contract.report_rig import KEY, ReportDesk
from tests.contract.study_rig import COURSE_ID, SHIPPED, Space, coworker, rules_of
from workers.deliver.claim import sweep
from workers.reports.compose import compose

pytestmark = pytest.mark.engines("sqlite")
HOST_ID, RITA, TEAM = 500, "okafor@example.org", "lead@acme.example"
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
FILE = (
    SHIPPED
    + f"""
digests:
  - {{name: for-hosts, every: week, to: host}}
  - {{name: for-acme, every: month, to: {TEAM}, where: {{team: Acme}}}}
"""
)
MONDAY = NOON.replace(day=9, hour=9)  # Lisbon has UTC in March
FIRST = NOON.replace(month=4, day=1, hour=8)  # and an hour more in April


def with_host(space: Space, **different: Any) -> None:  # noqa: ANN401 - any field of the host
    space.source.have(Entity.COURSE, course(host_id=HOST_ID, host_name="Rita Okafor"))
    named = {"full_name": "Rita Okafor", "first_name": "Rita", "email": RITA}
    space.source.have(Entity.COWORKER, coworker(HOST_ID, **(named | different)))


@pytest.fixture
def desk(ledger_engine: Engine) -> ReportDesk:
    """Give a space whose digests were just configured."""
    space = Space(ledger_engine, rules_of(FILE))
    with_host(space)
    found = ReportDesk(space)
    found.given(operator_email="")
    found.work()
    return found


def study(desk: ReportDesk) -> None:
    """Let two enrol and one of them finish on Tuesday; a third enrolled three weeks ago."""
    space, now = desk.space, desk.space.clock.now()
    space.enrol(3, created_at=now - 11 * DAY, team_names="Acme, Blue")
    one = space.enrol(1, team_names="Acme")
    space.enrol(2)
    space.work()
    space.finish(one, 1, 2, 3)
    space.work()


def digests(desk: ReportDesk) -> list[tuple[str, str]]:
    """Return recipient and subject of each email that is no email to a member."""
    caught = desk.space.mailer.caught
    return [
        (mail.recipient, str(mail.message["Subject"]))
        for mail in caught
        if not mail.recipient.startswith("person")
    ]


@pytest.mark.engines(*BOTH)
def test_the_host_gets_one_digest_on_monday_morning_about_who_did_what(desk: ReportDesk) -> None:
    study(desk)
    desk.at(MONDAY - timedelta(minutes=1))
    assert digests(desk) == []
    desk.at(MONDAY)
    desk.at(MONDAY + HOUR)
    assert digests(desk) == [(RITA, "Freelance Finance: last week")]
    text = " ".join(desk.text().split())
    assert "Hello Rita," in text
    assert "3 March 2026 to 8 March 2026" in text
    assert re.search("2 members enrolled: - Person [12] - Person [12] 1 member finished", text)
    assert "1 member finished: - Person 1" in text
    assert "1 member got stuck: - Person 3" in text
    assert "One thing to do: ask Person 3 what would help." in text
    assert "for 14 days no lesson was finished" in text
    assert desk.ends() == [("for-hosts", "done", None)]
    for week in (1, 2, 3):
        desk.at(MONDAY + 7 * week * DAY)
    assert desk.ends()[1:] == [
        ("for-hosts", "skipped", "nothing-happened"),
        ("for-hosts", "done", None),  # about Person 2, who did nothing for two weeks
        ("for-hosts", "skipped", "nothing-happened"),
    ]
    assert "1 member got stuck:\n\n- Person 2\n" in desk.text()


@pytest.mark.engines(*BOTH)
def test_a_fixed_address_gets_a_month_of_its_team(desk: ReportDesk) -> None:
    study(desk)
    desk.at(FIRST)
    assert (TEAM, "Freelance Finance: last month") in digests(desk)
    text = " ".join(desk.text().split())
    assert "1 member enrolled: - Person 1" in text
    assert "Person 2" not in text
    assert "Person 3" in text
    assert "One thing to do" not in text
    assert "3 March 2026 to 31 March 2026" in text


def test_what_happened_before_the_digest_was_configured_is_not_reported(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED))
    with_host(space)
    late = ReportDesk(space)
    late.given(operator_email="")
    study(late)
    late.space.clock.time += DAY
    space.rules = rules_of(FILE)
    late.work()
    late.at(MONDAY)
    assert "enrolled" not in late.text()
    assert "got stuck" in late.text()


def hosted_by_another(desk: ReportDesk) -> None:
    desk.space.source.have(Entity.COURSE, course(host_id=501, host_name="Joel"))


def without_email(desk: ReportDesk) -> None:
    with_host(desk.space, email=None)


def inactive(desk: ReportDesk) -> None:
    with_host(desk.space, active=False)


def gone(desk: ReportDesk) -> None:
    desk.space.source.lose(Entity.COWORKER, HOST_ID)


def refuse(desk: ReportDesk, name: str) -> None:
    with writing(desk.space.engine) as connection:
        no = Choice(agreed=False, chosen_at=desk.space.clock.now())
        store_choices(connection, [address_hash(RITA.upper(), KEY)], {name: no})


def unsubscribe(desk: ReportDesk) -> None:
    refuse(desk, report_choice("for-hosts"))


def stop_all(desk: ReportDesk) -> None:
    refuse(desk, "all")


def come_back(desk: ReportDesk) -> None:
    with writing(desk.space.engine) as connection:
        now = desk.space.clock.now()
        hashed = address_hash(RITA.upper(), KEY)
        suppress(connection, Suppression(hashed, ReportKind.HARD_BOUNCE, now, Provider.POSTMARK))


def observe(desk: ReportDesk) -> None:
    desk.space.choose(Mode.OBSERVE)


def switch_off(desk: ReportDesk) -> None:
    desk.space.rules = rules_of(FILE.replace("to: host}", "to: host, enabled: false}"))


def restore(desk: ReportDesk) -> None:
    with writing(desk.space.engine) as connection:
        open_gap(connection, Gap(NOON, desk.space.clock.now(), "restore"), "Rita")


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (hosted_by_another, "nothing-happened"),
        (without_email, "no-email"),
        (inactive, "no-email"),
        (gone, "no-email"),
        (unsubscribe, "opted-out-kind"),
        (stop_all, "opted-out-all"),
        (come_back, "bounced-before"),
        (observe, "observe"),
        (switch_off, "kind-off"),
        (restore, "restored"),
    ],
)
def test_what_changes_before_it_is_sent_counts(
    desk: ReportDesk, happens: Callable[[ReportDesk], None], reason: str
) -> None:
    study(desk)
    desk.at(MONDAY - 8 * HOUR)
    desk.space.clock.time = MONDAY - timedelta(minutes=20)
    happens(desk)
    desk.at(MONDAY + HOUR)
    assert (desk.ends()[0], digests(desk)) == (("for-hosts", "skipped", reason), [])
    with reading(desk.space.engine) as connection:
        copied = connection.execute(select(report_copies)).all()
    assert len(copied) == (reason == "observe")


def test_a_host_who_was_replaced_an_hour_before_gets_nothing(desk: ReportDesk) -> None:
    study(desk)
    desk.at(MONDAY - HOUR)
    desk.space.enrol(4)
    desk.space.work()  # which reads the course, with its host of then
    hosted_by_another(desk)
    desk.at(MONDAY)
    assert (desk.ends()[0], digests(desk)) == (("for-hosts", "skipped", "nothing-happened"), [])


def host_many(desk: ReportDesk, number: int) -> None:
    """Let the host have so many courses, on each of which one more enrols than on the next."""
    space = desk.space
    for course_id in range(101, 101 + number):
        title = f"Course {course_id}"
        space.source.have(Entity.COURSE, course(record_id=course_id, title=title, host_id=HOST_ID))
    for course_id in range(101, 101 + number):
        space.enrol(course_id, course_id=course_id, full_name=f"Only on {course_id}")
    space.look_up()


def replace_host(desk: ReportDesk, *course_ids: int) -> None:
    for one in course_ids:
        changed = course(record_id=one, title=f"Course {one}", host_id=501, host_name="Joel")
        desk.space.source.have(Entity.COURSE, changed)


def test_a_host_of_many_courses_gets_no_name_of_a_course_that_is_theirs_no_more(
    desk: ReportDesk,
) -> None:
    host_many(desk, 70)
    lost = [*range(101, 113), 125, 170]  # of those told about, of those named, of the others
    desk.at(MONDAY - HOUR)
    replace_host(desk, *lost)
    desk.space.source.asked.clear()
    desk.at(MONDAY)
    assert digests(desk) == [(RITA, "Your courses last week")]
    text = " ".join(desk.text().split())
    assert [one for one in range(101, 171) if f"- Person {one} " in text] == [
        one for one in range(113, 134) if one != 125
    ]
    assert [one for one in range(101, 171) if f"Course {one}" in text] == [
        one for one in range(113, 154) if one != 125
    ]
    assert "** 37 more courses ** - Course 134" in text
    assert "- Course 153 - and 17 others" in text
    read = [one for kind, one in desk.space.source.asked if kind == Entity.COURSE]
    assert len(read) == len(set(read)) == 53


def test_nothing_of_courses_that_were_not_just_read_is_written(desk: ReportDesk) -> None:
    study(desk)
    desk.at(MONDAY - timedelta(minutes=1))
    plan = ReportPlan("a", "for-hosts", HOST, MONDAY, NOON, MONDAY - 9 * HOUR, HOST_ID)
    report = Report(1, plan, MONDAY, ActionState.PLANNED, None, 0, None, None)
    with reading(desk.space.engine) as connection:
        found = compose(desk.tools, connection, report, MONDAY)
    assert found == Outcome.waiting(MONDAY + timedelta(minutes=15), Reason.CHANGED_MEANWHILE)


def test_a_host_who_lost_all_courses_gets_nothing(desk: ReportDesk) -> None:
    host_many(desk, 45)
    replace_host(desk, *range(101, 146))
    desk.at(MONDAY)
    assert (desk.ends()[0], digests(desk)) == (("for-hosts", "skipped", "nothing-happened"), [])


def test_who_hosts_a_course_since_this_morning_gets_the_digest_about_it(desk: ReportDesk) -> None:
    study(desk)
    desk.at(MONDAY - HOUR)
    hosted_by_another(desk)
    desk.space.source.have(Entity.COWORKER, coworker(501, email="joel@example.org"))
    desk.at(MONDAY)
    desk.at(MONDAY + timedelta(minutes=1))
    assert digests(desk) == [("joel@example.org", "Freelance Finance: last week")]
    assert desk.ends() == [
        ("for-hosts", "skipped", "nothing-happened"),
        ("for-hosts", "done", None),
    ]


@pytest.mark.engines(*BOTH)
def test_a_host_whose_digest_has_gone_gets_one_more_about_a_course_they_took_over(
    desk: ReportDesk,
) -> None:
    space = desk.space
    other = course(record_id=7, title="Pricing", host_id=501, host_name="Joel")
    space.source.have(Entity.COURSE, other)
    space.source.have(Entity.COWORKER, coworker(501, email="joel@example.org"))
    study(desk)
    space.enrol(77, course_id=7)
    space.look_up()
    desk.at(MONDAY - HOUR)
    with writing(space.engine) as connection:
        is_joel = reports.c.coworker_id == 501
        connection.execute(update(reports).where(is_joel).values(due_at=MONDAY - HOUR))
    desk.at(MONDAY - HOUR)
    assert digests(desk) == [("joel@example.org", "Pricing: last week")]
    hosted_by_another(desk)
    for minutes in (0, 1, 60):
        desk.at(MONDAY + timedelta(minutes=minutes))
    assert digests(desk)[1:] == [("joel@example.org", "Freelance Finance: last week")]
    assert "Person 77" not in desk.text()
    assert "- Person 1\n" in desk.text()


def test_a_course_that_cannot_be_read_is_counted_and_delays_no_digest(desk: ReportDesk) -> None:
    host_many(desk, 3)
    desk.space.source.break_record(Entity.COURSE, 101)
    desk.at(MONDAY)
    assert digests(desk) == [(RITA, "Your courses last week")]
    text = desk.text()
    assert "** 1 more course **" in text
    assert "Person 101" not in text
    assert "Person 102" in text


def test_a_digest_about_nothing_but_courses_that_cannot_be_read_waits(desk: ReportDesk) -> None:
    study(desk)
    desk.space.source.break_record(Entity.COURSE, COURSE_ID)
    desk.at(MONDAY)
    assert desk.ends() == [("for-hosts", "waiting", "nexudus-down")]
    desk.space.source.mend_record(Entity.COURSE, COURSE_ID)
    desk.at(MONDAY + timedelta(minutes=15))
    assert digests(desk) == [(RITA, "Freelance Finance: last week")]


def test_a_course_of_which_nexudus_shows_an_older_version_is_read_once(desk: ReportDesk) -> None:
    study(desk)
    older = course(host_id=HOST_ID, host_name="Rita Okafor", updated_at=NOON - 400 * DAY)
    desk.space.source.have(Entity.COURSE, older)
    desk.space.source.asked.clear()
    desk.at(MONDAY)
    assert [kind for kind, _ in desk.space.source.asked].count(Entity.COURSE) == 1
    assert desk.ends()[0][1] in {"done", "waiting"}


def read_late(desk: ReportDesk, number: int, enrolled_at: datetime, read_at: datetime) -> None:
    """Let a person enrol, and the ledger learn of it later."""
    space = desk.space
    desk.at(enrolled_at)
    member = space.enrol(number, reported=False)
    desk.at(read_at)
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    space.work()


@pytest.mark.engines(*BOTH)
def test_who_was_recorded_after_the_digest_is_in_the_next_one_with_the_day(
    desk: ReportDesk,
) -> None:
    desk.given(operator_email="ops@example.org")
    desk.work()
    study(desk)
    read_late(desk, 7, MONDAY - 12 * HOUR, MONDAY + 3 * HOUR)
    texts = [desk.text(place) for place in (-2, -1)]
    assert not any("Person 7" in text for text in texts)
    desk.at(MONDAY + 7 * DAY)
    text = " ".join(desk.text().split())
    assert "9 March 2026 to 15 March 2026" in text
    assert "1 member enrolled: - Person 7 (8 March 2026)" in text
    summary = next(
        desk.text(place)
        for place in reversed(range(len(desk.subjects)))
        if "Coursebell:" in desk.subjects[place]
    )
    assert "New enrolments: 1\n" in summary
    desk.at(MONDAY + 14 * DAY)
    assert "enrolled" not in desk.text()  # but stuck by now


def test_what_happened_before_the_digest_was_wanted_is_not_in_it_if_recorded_later(
    desk: ReportDesk,
) -> None:
    desk.space.enrol(7, created_at=NOON - timedelta(minutes=1), reported=False)
    desk.space.enrol(8)
    desk.space.work()
    desk.space.notify(Entity.COURSE_MEMBER, 9007)  # as for one that the first poll found
    desk.space.work()
    desk.at(MONDAY)
    text = " ".join(desk.text().split())
    assert "1 member enrolled: - Person 8" in text
    assert "Person 7" not in text


@pytest.mark.parametrize("change", [{"blocked": True}, {"approved": False}])
def test_the_host_is_not_asked_to_greet_a_member_without_a_place(
    desk: ReportDesk, change: dict[str, bool]
) -> None:
    first = desk.space.enrol(1)
    desk.space.enrol(2)
    desk.space.work()
    desk.space.clock.time += HOUR
    desk.space.change(first, **change)
    desk.space.work()
    desk.at(MONDAY)
    text = desk.text()
    assert "say hello to Person 2" in " ".join(text.split())
    assert "Person 1" not in text


def test_the_host_is_not_asked_to_congratulate_a_member_who_left(desk: ReportDesk) -> None:
    study(desk)
    desk.space.source.lose(Entity.COURSE_MEMBER, 9003)
    desk.space.notify(Entity.COURSE_MEMBER, 9003)
    desk.space.source.lose(Entity.COURSE_MEMBER, 9001)
    desk.space.notify(Entity.COURSE_MEMBER, 9001)
    desk.space.work()
    desk.at(MONDAY)
    text = " ".join(desk.text().split())
    assert "1 member finished: - Person 1" in text
    assert "One thing to do: say hello to Person 2." in text


def test_who_left_unnoticed_is_looked_up_before_the_host_is_asked_to_write_to_them(
    desk: ReportDesk,
) -> None:
    study(desk)
    desk.space.source.lose(Entity.COURSE_MEMBER, 9003)
    desk.at(MONDAY)
    assert desk.ends() == [("for-hosts", "waiting", "changed-meanwhile")]
    desk.space.work()
    desk.at(MONDAY + timedelta(minutes=2))
    assert digests(desk) == [(RITA, "Freelance Finance: last week")]
    assert "congratulate Person 1" in " ".join(desk.text().split())
    assert "Person 3" not in desk.text()


@pytest.mark.parametrize(
    ("after", "words"), [("6h", "6 hours"), ("36h", "36 hours"), ("1d", "1 day"), ("48h", "2 days")]
)
def test_a_digest_says_for_how_long_a_stuck_member_did_nothing(
    ledger_engine: Engine, after: str, words: str
) -> None:
    rules = FILE.replace("to: host}", f"to: host, stuck_after: {after}}}")
    space = Space(ledger_engine, rules_of(rules))
    with_host(space)
    desk = ReportDesk(space)
    desk.given(operator_email="")
    desk.work()
    space.enrol(1)
    space.work()
    desk.at(MONDAY)
    assert f"Stuck means: for {words} no lesson was finished" in " ".join(desk.text().split())


def test_a_reader_may_stop_it_until_the_last_step(desk: ReportDesk) -> None:
    study(desk)
    desk.space.mailer.meanwhile(lambda: unsubscribe(desk))
    desk.at(MONDAY)
    assert desk.ends() == [("for-hosts", "skipped", "opted-out-kind")]


def test_observe_mode_stops_it_until_the_last_step(desk: ReportDesk) -> None:
    study(desk)
    desk.space.mailer.meanwhile(lambda: desk.space.choose(Mode.OBSERVE))
    desk.at(MONDAY)
    assert desk.ends() == [("for-hosts", "skipped", "observe")]
    assert digests(desk) == []


def test_a_pause_delays_it_and_a_long_one_drops_it(desk: ReportDesk) -> None:
    study(desk)
    with writing(desk.space.engine) as connection:
        begin_pause(connection, PauseScope.ALL, None, until=None, note=None, who="Rita", now=NOON)
    for day in range(8):
        desk.at(MONDAY + day * DAY)
    assert desk.ends()[0] == ("for-hosts", "skipped", "too-old")
    assert digests(desk) == []


def pause(
    desk: ReportDesk, scope: PauseScope, target: str | None, *, until: datetime | None = None
) -> Pause:
    now = desk.space.clock.now()
    with writing(desk.space.engine) as connection:
        return begin_pause(connection, scope, target, until=until, note=None, who="Rita", now=now)


def resume(desk: ReportDesk, *these: Pause) -> None:
    with writing(desk.space.engine) as connection:
        end_pauses(connection, these, "Rita", desk.space.clock.now())


@pytest.mark.engines(*BOTH)
@pytest.mark.parametrize(
    ("scope", "target", "held"),
    [
        (PauseScope.RULE, "for-hosts", 1),
        (PauseScope.RULE, "for-acme", 0),
        (PauseScope.PERSON, str(HOST_ID), 1),
        (PauseScope.PERSON, "1", 0),
        (PauseScope.COURSE, "77", 0),
    ],
)
def test_a_digest_is_paused_by_its_name_and_goes_at_once_after_the_resume(
    desk: ReportDesk, scope: PauseScope, target: str, held: int
) -> None:
    made = pause(desk, scope, target)
    study(desk)
    desk.at(MONDAY)
    end = ("waiting", "paused") if held else ("done", None)
    assert desk.ends() == [("for-hosts", *end)]
    with reading(desk.space.engine) as connection:
        assert len(reports_held_by(connection, [made])) == reports_among(connection, made)
        assert reports_among(connection, made) == held
    desk.at(MONDAY + timedelta(minutes=5))
    resume(desk, made)
    desk.work()
    assert desk.ends() == [("for-hosts", "done", None)]


@pytest.mark.engines(*BOTH)
def test_a_digest_that_two_pauses_hold_waits_for_the_end_of_both(desk: ReportDesk) -> None:
    everything = pause(desk, PauseScope.ALL, None)
    pause(desk, PauseScope.RULE, "for-hosts", until=MONDAY + 3 * HOUR)
    study(desk)
    desk.at(MONDAY)
    with reading(desk.space.engine) as connection:
        assert reports_held_by(connection, [everything]) == []
        assert reports_held_by(connection, open_pauses(connection)) == [1]
    resume(desk, everything)
    desk.work()
    assert desk.ends() == [("for-hosts", "waiting", "paused")]
    desk.space.clock.time = MONDAY + 3 * HOUR
    sweep(desk.space.delivery)
    desk.work()
    assert desk.ends() == [("for-hosts", "done", None)]


@pytest.mark.engines(*BOTH)
def test_what_operators_get_is_paused_by_its_name_alone(desk: ReportDesk) -> None:
    desk.given()
    desk.work()
    pause(desk, PauseScope.ALL, None)
    by_name = pause(desk, PauseScope.RULE, "summary")
    desk.at(MONDAY)
    assert desk.ends() == [("trouble", "done", None), ("summary", "waiting", "paused")]
    resume(desk, by_name)
    desk.work()
    assert desk.ends()[1] == ("summary", "done", None)


def test_it_waits_while_nexudus_does_not_answer_and_for_the_day(desk: ReportDesk) -> None:
    study(desk)
    desk.space.source.fail_next(*(SourceUnavailable("away") for _ in range(44)))
    for quarter in range(60):
        desk.at(MONDAY + quarter * timedelta(minutes=15))
    assert desk.ends() == [("for-hosts", "waiting", "quiet-hours")]
    desk.at(MONDAY + 23 * HOUR)
    assert digests(desk) == [(RITA, "Freelance Finance: last week")]


def test_the_digest_is_in_the_language_and_at_the_hour_of_the_host(desk: ReportDesk) -> None:
    study(desk)
    desk.given(operator_email="", language="de")
    desk.at(MONDAY)
    assert digests(desk) == [(RITA, "Freelance Finance: letzte Woche")]
    assert re.search(r"https://courses\.example\.org/p/\S+\?lang=de\n", desk.text())
    header = str(desk.space.mailer.caught[-1].message["List-Unsubscribe"])
    assert re.fullmatch(r"<https://courses\.example\.org/u/\S+\?lang=de>.*", header)


def test_five_hundred_members_are_ten_names_and_a_number(desk: ReportDesk) -> None:
    now = desk.space.clock.now()
    for number in range(500, 1_000):
        desk.space.enrol(number + 1, created_at=now, full_name=f"Member {number}")
    desk.space.look_up()
    desk.at(MONDAY)
    text = desk.text()
    assert "500 members enrolled:" in text
    assert "- and 490 others" in text
    assert len(desk.space.mailer.caught[-1].content) < 40_000


def test_one_host_of_two_courses_gets_one_digest(desk: ReportDesk) -> None:
    desk.space.source.have(
        Entity.COURSE,
        course(record_id=7, title="Pricing", host_id=HOST_ID, host_name="Rita Okafor"),
    )
    desk.space.enrol(1)
    desk.space.enrol(2, course_id=7)
    desk.space.work()
    desk.at(MONDAY)
    assert digests(desk) == [(RITA, "Your courses last week")]
    assert desk.text().index("** Freelance Finance **") < desk.text().index("** Pricing **")


@pytest.mark.engines(*BOTH)
def test_operators_get_a_summary_every_monday_also_of_a_quiet_week(
    ledger_engine: Engine,
) -> None:
    desk = ReportDesk(Space(ledger_engine, rules_of(SHIPPED)))
    desk.work()
    study(desk)
    desk.space.choose(Mode.OBSERVE)
    desk.at(MONDAY)
    found = [one for one in desk.subjects if one.startswith("Coursebell") and "week" in one]
    assert found == ["Coursebell: 3 emails last week"]
    text = desk.text()
    assert "New enrolments: 2\nFinished courses: 1\n" in text
    assert "Welcome: 2\n" in text
    for week in (1, 2):
        desk.at(MONDAY + 7 * week * DAY)
    assert desk.subjects[-1] == "Coursebell: a quiet week"
    summaries = [one for one in desk.ends() if one[0] == "summary"]
    assert summaries == [("summary", "done", None)] * 3


def test_a_host_who_changes_before_monday_leaves_the_digest_to_the_new_one(
    desk: ReportDesk,
) -> None:
    study(desk)
    hosted_by_another(desk)
    desk.space.source.have(Entity.COWORKER, coworker(501, email="joel@example.org"))
    desk.space.clock.time += DAY
    desk.space.enrol(9)
    desk.space.look_up()
    desk.at(MONDAY)
    assert [to for to, _ in digests(desk)] == ["joel@example.org"]
    assert desk.rows()[0].audience == HOST
