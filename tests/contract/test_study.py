"""A sitting, a night, an import, a lesson taken back: what the shipped rules do.

See `tests.contract.study_rig`. Noon of the rig is noon in Lisbon.
"""

import sqlite3
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from ledger.choices import address_hash, store_choices
from ledger.clock import SYSTEM_CLOCK
from ledger.engine import Engine, writing
from ledger.intake import Origin, store_notifications
from ledger.lookups import Claim, begin_lookups, claim_lookups
from ledger.records import note_seen
from ledger.tables import records
from schemas.actions import Mode
from schemas.choices import Choice
from schemas.entity import Entity
from schemas.errors import ChannelUnavailable, DeliveryUnavailable, DeliveryUnknown, SourceRefused
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import Record
from tests.builders.records import NOON, lesson
from tests.contract.ledger_rig import BOTH, at_once, rows
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from workers.lookup.claim import drain_batch
from workers.retries import MOST_LOST_LEASES
from workers.versions import version_of_record

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

AT_ONCE = SHIPPED.replace("    gather: 30m\n", "").replace("    gather_at_most: 3h\n", "")
ANY_TIME = SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


def test_three_lessons_of_a_sitting_make_one_email_half_an_hour_after_the_last(
    space: Space,
) -> None:
    member = space.enrol(1)
    space.work()
    for minutes in (2, 13):
        space.later(minutes=minutes)
        space.finish(member, 1 if minutes == 2 else 2)
        space.work()
    space.later(minutes=29)
    assert space.subjects == ["You're in: Freelance Finance"]
    space.later(minutes=2)
    assert space.subjects[1:] == ["2 lessons done in Freelance Finance"]


def test_the_course_email_replaces_the_waiting_lesson_email(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.finish(member, 1, 2)
    space.later(minutes=5)
    space.finish(member, 3)
    space.work()
    space.later(hours=5)
    assert space.subjects[1:] == ["You finished “Freelance Finance”"]
    assert ("skipped", "superseded") in space.outcomes()


@pytest.mark.engines(*BOTH)
def test_the_last_two_lessons_read_at_the_same_time_finish_the_course_once(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(AT_ONCE.replace("cap_per_day: 2", "cap_per_day: none")))
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.later(minutes=1)
    space.finish(member, 2, 3)
    at_once(4, lambda _: drain_batch(space.lookup_context))
    space.work()
    assert space.subjects[2:] == ["You finished “Freelance Finance”"]
    assert space.reasons("lesson_completed")[1:] == ["superseded", "superseded"]


def test_at_night_it_waits_for_the_morning(space: Space) -> None:
    space.at(NOON.replace(hour=22))
    space.enrol(1)
    space.work()
    assert space.outcomes() == [("waiting", "quiet-hours")]
    space.at(NOON.replace(hour=7, minute=59) + timedelta(days=1))
    assert space.subjects == []
    space.later(minutes=46)  # the morning's emails are spread over 45 minutes
    assert space.subjects == ["You're in: Freelance Finance"]


def test_a_sitting_before_the_night_is_emailed_about_just_before_it(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.at(NOON.replace(hour=19, minute=50))
    space.finish(member, 1, 2)
    space.work()
    space.at(NOON.replace(hour=19, minute=59, second=30))
    assert space.subjects[1:] == ["2 lessons done in Freelance Finance"]


def test_a_member_gets_at_most_two_emails_a_day(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(AT_ONCE))
    member = space.enrol(1)
    space.work()
    for number in (1, 2):
        space.later(minutes=10)
        space.finish(member, number)
        space.work()
    assert space.outcomes()[2] == ("waiting", "cap-day")
    space.at(NOON.replace(hour=8, minute=45) + timedelta(days=1))
    assert len(space.subjects) == 3


def test_thirty_emails_at_once_are_held_for_a_person(space: Space) -> None:
    for number in range(1, 31):
        space.enrol(number)
    while drain_batch(space.lookup_context)[0]:
        pass
    space.work()
    assert set(space.outcomes()) == {("held", "flood-guard")}
    assert space.subjects == []


def test_old_events_are_held_and_those_before_the_start_are_ignored(space: Space) -> None:
    space.enrol(1, created_at=NOON - timedelta(days=3))
    space.enrol(2, created_at=NOON - timedelta(days=40))
    space.work()
    assert space.outcomes() == [("held", "too-old")]
    assert sorted(map(str, space.reasons("enrolled"))) == ["None", "before-start"]


def test_an_email_is_checked_again_with_current_records(space: Space) -> None:
    members = {number: space.enrol(number) for number in range(1, 8)}
    space.work()
    space.mailer.caught.clear()
    for member in members.values():
        space.finish(member, 1)
    space.work()
    source = space.source
    source.have(Entity.COURSE_MEMBER, replace(members[1], blocked=True))  # without a notification
    space.change(members[2], approved=False)
    source.lose(Entity.COURSE_MEMBER, members[3].record_id)
    source.have(Entity.COWORKER, coworker(4, email="new@example.org"))
    source.have(Entity.COWORKER, coworker(5, active=False))
    source.have(Entity.COWORKER, coworker(6, email=None))
    with writing(space.engine) as connection:
        hashed = address_hash("person7@example.org", "a-key-for-hashes")
        chosen = {"all": Choice(agreed=False, chosen_at=space.clock.now())}
        store_choices(connection, [hashed], chosen)
    space.later(minutes=31)
    space.later(seconds=20)  # what an email meets first is decided on before it goes
    assert space.outcomes_by_person("congratulate-lesson") == {
        1: ("skipped", "blocked"),
        2: ("skipped", "not-approved"),
        3: ("skipped", "record-gone"),
        4: ("done", None),
        5: ("skipped", "member-inactive"),
        6: ("skipped", "no-email"),
        7: ("skipped", "opted-out-all"),
    }
    assert [mail.recipient for mail in space.mailer.caught] == ["new@example.org"]


def test_a_lesson_taken_back_before_its_email_is_not_emailed_about(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    first, _ = space.finish(member, 1, 2)
    space.work()
    space.source.lose(Entity.COMPLETED_LESSON, first)
    space.later(minutes=31)
    space.later(seconds=20)  # that it is gone is made sure of by its Id
    assert space.subjects[1:] == ["You finished “Lesson 2”"]


def test_a_lesson_done_again_under_another_id_is_the_same_lesson(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    [first] = space.finish(member, 1)
    space.later(minutes=40)
    space.source.lose(Entity.COMPLETED_LESSON, first)
    space.finish(member, 1)
    space.later(hours=4)
    assert space.subjects[1:] == ["You finished “Lesson 1”"]


def test_a_person_who_enrols_again_is_not_welcomed_again(space: Space) -> None:
    space.enrol(1)
    space.work()
    space.enrol(1, record_id=9999)
    space.work()
    assert space.subjects == ["You're in: Freelance Finance"]


def test_approval_later_is_the_enrolment(space: Space) -> None:
    member = space.enrol(1, approved=False)
    space.work()
    assert space.reasons("enrolment_requested") == ["not-approved"]
    space.later(days=5)
    space.change(member, approved=True)
    space.work()
    assert space.subjects == ["You're in: Freelance Finance"]


def test_unreported_lessons_are_found_with_the_next_one(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.finish(member, 1, reported=False)
    space.later(minutes=5)
    space.finish(member, 2)
    space.later(minutes=31)
    assert space.subjects[1:] == ["2 lessons done in Freelance Finance"]


def test_a_lesson_that_joins_while_its_email_is_written_is_in_it(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.work()
    space.clock.time += timedelta(minutes=31)
    asked = space.source.fetch

    def ask_and_finish(entity: Entity, record_id: int) -> object:
        space.source.fetch = asked  # type: ignore[method-assign]  # once
        space.finish(member, 2)
        drain_batch(space.lookup_context)
        return asked(entity, record_id)

    space.source.fetch = ask_and_finish  # type: ignore[method-assign, assignment]  # as if meanwhile
    space.work()
    space.later(minutes=31)
    subjects = space.subjects[1:]
    assert subjects == ["2 lessons done in Freelance Finance"]


def test_lookups_resume_after_an_outage_of_the_source(space: Space) -> None:
    space.source.be_slow()
    space.enrol(1)
    space.work()
    assert space.lookups() == [("waiting", "nexudus-down")]
    space.source.recover()
    space.later(minutes=1)
    assert space.subjects == ["You're in: Freelance Finance"]


def test_a_refusal_waits_long_and_is_retried_once_it_is_fixed(space: Space) -> None:
    space.source.refuse()
    for number in (1, 2, 3):
        space.enrol(number)
    space.work()
    assert len(space.source.asked) <= 4  # one for each thread of the batch; the rest give back
    space.source.recover()
    space.later(hours=1)
    assert len(space.subjects) == 3


def test_a_deferred_email_is_retried_and_fails_after_six_attempts(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(ANY_TIME))
    space.mailer.fail_next(*(DeliveryUnavailable("451 later") for _ in range(6)))
    space.enrol(1)
    space.work()
    assert space.outcomes() == [("waiting", "mail-temporary")]
    for _ in range(4):
        space.later(minutes=239)
    space.later(hours=18)
    space.later(hours=18)
    assert space.outcomes() == [("failed", "mail-temporary")]
    assert space.subjects == []


def test_an_interrupted_hand_over_stays_unknown(space: Space) -> None:
    space.mailer.fail_next(DeliveryUnknown("cut off"))
    space.enrol(1)
    space.work()
    space.notify(Entity.COURSE_MEMBER, 9001)
    space.later(days=3)
    assert space.outcomes() == [("unknown", "handover-unknown")]
    assert space.subjects == []


def test_emails_held_in_observe_mode_after_the_start_are_sent_with_mode_sending(
    space: Space,
) -> None:
    space.choose(Mode.OBSERVE)
    space.enrol(1)
    space.later(minutes=5)
    assert space.outcomes() == [("held", "observe")]
    space.later(days=4)
    space.enrol(2)
    space.work()
    space.choose(Mode.SENDING)
    space.later(minutes=1)
    assert space.outcomes() == [("held", "too-old"), ("done", None)]


def test_a_clock_set_back_does_not_make_old_reads_fresh(space: Space) -> None:
    member = space.enrol(1, approved=False)
    space.work()
    space.source.have(Entity.COURSE_MEMBER, replace(member, approved=True))
    space.clock.time -= timedelta(seconds=1)
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    space.work()
    space.later(minutes=2)
    assert space.subjects == ["You're in: Freelance Finance"]


def test_a_list_read_by_another_worker_meanwhile_is_read_again(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(AT_ONCE))
    member = space.enrol(1)
    space.work()
    [first] = space.finish(member, 1)
    listed = space.source.completions_of

    def list_and_be_overtaken(course_member_id: int) -> list[Record]:
        found = listed(course_member_id)
        space.source.completions_of = listed  # type: ignore[method-assign]  # once
        space.finish(member, 2)
        return found

    space.source.completions_of = list_and_be_overtaken  # type: ignore[method-assign]  # as if meanwhile
    space.work()
    assert first
    assert space.reasons("lesson_completed") == [None, None]


def test_a_completion_missing_on_a_lagging_list_counts(ledger_engine: Engine) -> None:
    space = Space(ledger_engine, rules_of(AT_ONCE))
    member = space.enrol(1)
    space.work()
    listed = space.source.completions_of
    space.source.completions_of = lambda course_member_id: []  # type: ignore[method-assign]  # noqa: ARG005 - a list that lags
    space.finish(member, 1)
    for _ in range(6):
        while drain_batch(space.lookup_context)[0]:
            pass
        space.clock.time += timedelta(seconds=4)
    space.source.completions_of = listed  # type: ignore[method-assign]
    space.work()
    assert space.subjects[1:] == ["You finished “Lesson 1”"]


def test_lessons_of_a_second_enrolment_have_an_email_of_their_own(space: Space) -> None:
    first = space.enrol(1)
    space.work()
    space.finish(first, 1)
    space.later(minutes=5)
    space.source.lose(Entity.COURSE_MEMBER, first.record_id)
    second = space.enrol(1, record_id=9999)
    space.finish(second, 2)
    space.later(hours=4)
    assert space.subjects[1:] == ["You finished “Lesson 2”"]
    assert space.outcomes()[1:] == [("skipped", "record-gone"), ("done", None)]


def test_one_refused_record_does_not_delay_the_others(space: Space) -> None:
    members = [space.enrol(number) for number in range(1, 13)]
    space.source.break_record(Entity.COWORKER, 1)
    space.source.fail_next(SourceRefused("400"))
    space.work()
    assert space.lookups().count(("waiting", "nexudus-refused")) == 1
    assert space.lookups().count(("done", None)) >= len(members) - 2


def test_the_whole_batch_pauses_when_the_source_is_busy(space: Space) -> None:
    for number in range(1, 13):
        space.enrol(number)
    space.source.be_busy(retry_after_s=30)
    drain_batch(space.lookup_context)
    assert len(space.source.asked) <= 4
    assert set(space.lookups()) == {("waiting", "nexudus-busy")}
    space.source.recover()
    space.later(minutes=1)
    assert len(space.subjects) == 12


def test_only_a_started_lookup_counts_towards_the_five_lost_workers(space: Space) -> None:
    for number in range(1, 11):
        space.enrol(number)
    for _ in range(6):
        with writing(space.engine) as connection:
            claims = claim_lookups(
                connection, space.clock.now(), SYSTEM_CLOCK.new_id(), lease_s=60, most=20
            )
            assert begin_lookups(connection, claims[:1], space.clock.now(), lease_s=60)
        space.clock.time += timedelta(minutes=2)
    space.work()
    assert space.lookups() == [("failed", "internal-error")] + [("done", None)] * 9


def test_a_worker_that_stops_returns_lookups_as_due_and_blames_nobody(space: Space) -> None:
    space.enrol(1)
    drain_batch(replace(space.lookup_context, is_stopping=lambda: True))
    assert space.lookups() == [("due", None)]
    space.work()
    assert space.lookups() == [("done", None)]


def test_a_ledger_that_is_often_busy_at_the_commit_fails_no_lookup(space: Space) -> None:
    stored: list[str] = []
    is_busy = True

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("INSERT INTO records"):
            stored.append(statement)

    def refuse(_: object) -> None:
        if is_busy and stored:
            stored.clear()
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY
            raise OperationalError("COMMIT", None, error)

    event.listen(space.engine, "before_cursor_execute", note)
    event.listen(space.engine, "commit", refuse)
    space.enrol(1)
    for _ in range(2 + MOST_LOST_LEASES):
        space.later(minutes=2)
        assert space.lookups() == [("due", None)]
    is_busy = False
    space.later(minutes=2)
    assert space.lookups() == [("done", None)]


def test_a_notification_makes_a_waiting_lookup_due_after_an_outage(space: Space) -> None:
    space.source.be_slow()
    member = space.enrol(1)
    for _ in range(8):
        space.later(minutes=10)
    space.source.recover()
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    space.work()
    assert space.subjects == ["You're in: Freelance Finance"]


def test_a_refused_login_uses_up_no_attempts(ledger_engine: Engine) -> None:
    space = Space(
        ledger_engine, rules_of(ANY_TIME.replace("stale_after: 48h", "stale_after: none"))
    )
    refused = ChannelUnavailable(Reason.MAIL_LOGIN, "refused", answer="535")
    space.mailer.fail_next(*(refused for _ in range(9)))
    space.enrol(1)
    space.work()
    for _ in range(9):
        space.later(hours=7)
    assert space.subjects == ["You're in: Freelance Finance"]


def test_a_lesson_added_since_the_list_was_read_keeps_the_course_open(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.finish(member, 1, 2)
    space.later(minutes=5)
    space.source.have(Entity.LESSON, lesson(4))
    space.finish(member, 3)
    space.work()
    space.later(hours=4)
    assert "You finished “Freelance Finance”" not in space.subjects


def test_a_notification_after_an_import_without_emails_sends_none(space: Space) -> None:
    member = space.enrol(1, reported=False)
    seen = [version_of_record(Entity.COURSE_MEMBER, member)]
    with writing(space.engine) as connection:
        note_seen(connection, Entity.COURSE_MEMBER, seen, space.clock.now(), Reason.IMPORTED)
        said = [Notification(Entity.COURSE_MEMBER, member.record_id)]
        store_notifications(connection, said, Origin.BACKFILL, space.clock.now())
    space.work()
    assert space.reasons("enrolled") == [Reason.IMPORTED]
    space.clock.time += timedelta(hours=1)
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    space.work()
    assert space.lookups() == [("done", None)]
    assert space.reasons("enrolled") == [Reason.IMPORTED]
    assert space.outcomes() == []


def test_a_worker_that_loses_its_lease_while_it_reads_commits_nothing(space: Space) -> None:
    taken: list[Claim] = []

    def take() -> None:
        if not taken:
            later = space.clock.now() + timedelta(hours=1)
            with writing(space.engine) as connection:
                taken.extend(claim_lookups(connection, later, "another", lease_s=60, most=1))

    space.enrol(1)
    space.source.when_asked(Entity.COWORKER.value, take)
    with capture_logs() as logs:
        drain_batch(space.lookup_context)
    assert [one.record_id for one in taken] == [9001]
    assert [line["outcome"] for line in logs if line["event"] == "lookup.ended"] == ["overtaken"]
    assert space.lookups() == [("leased", None)]
    assert space.reasons("enrolled") == []
    decided_on = [row for row in rows(space.engine, records) if row.entity == Entity.COURSE_MEMBER]
    assert decided_on == []
