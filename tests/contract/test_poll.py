"""The poll finds unreported changes once, and the baseline sends no email."""

from dataclasses import replace
from datetime import timedelta

import pytest

from ledger.checks import CheckKind, Run, last_run, open_run
from ledger.engine import Engine, reading, writing
from ledger.events import suppressed_among
from ledger.heartbeats import take_lease
from ledger.intake import Origin, store_notifications
from ledger.source_state import catalogue_of
from schemas.actions import Mode
from schemas.entity import FOLLOWED, Entity
from schemas.errors import (
    CoursebellError,
    RecordUnreadable,
    SourceRefused,
    SourceThrottled,
    SourceUnavailable,
)
from schemas.notification import Notification
from schemas.reasons import Reason
from schemas.records import CompletedLesson
from schemas.rules import unknown_names
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import SHIPPED, Space, rules_of
from workers.sync.poll import PollResult, poll_all, refresh_catalogue
from workers.sync.rows import SyncContext

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

KINDS = (CheckKind.CHECK, CheckKind.BASELINE)


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    """Yield a space without members whose baseline has ended."""
    return Space(ledger_engine, rules_of(SHIPPED))


def poll_now(space: Space, *, for_s: float = 60.0, every_s: float = 300.0) -> PollResult:
    """Poll what is due."""
    return poll_all(SyncContext(space.engine, space.lend, space.clock, every_s), for_s=for_s)


def after(space: Space, minutes: float = 5.0) -> PollResult:
    """Poll after some minutes, and do all that is due then."""
    space.clock.time += timedelta(minutes=minutes)
    done = poll_now(space)
    space.work()
    return done


def asked(space: Space) -> list[tuple[str, int]]:
    """Return the requests to the source since the last call."""
    questions, space.source.asked = space.source.asked, []
    return questions


def run_of(space: Space, entity: Entity) -> Run:
    with reading(space.engine) as connection:
        run = last_run(connection, KINDS, entity)
    assert run is not None
    return run


def test_the_baseline_sends_no_email_and_reads_no_record(space: Space) -> None:
    for number in range(1, 30):
        member = space.enrol(number, reported=False)
        space.finish(member, 1, 2, reported=False)
    space.clock.time += timedelta(seconds=5)
    assert poll_now(space) == PollResult(news=0, more=False)
    assert asked(space)[:1] == [("changed_since CourseMember", 0)]
    assert {question for question, _ in asked(space)} <= {
        "changed_since CourseMember",
        "changed_since CourseCompletedLesson",
    }
    space.later(hours=1)
    assert space.lookups() == []
    assert space.outcomes() == []
    with reading(space.engine) as connection:
        quiet = suppressed_among(connection, [(Entity.COURSE_MEMBER, 9001)])
    assert [one.reason for one in quiet.values()] == [Reason.BEFORE_START]


def test_later_changes_are_found_without_notifications(space: Space) -> None:
    poll_now(space)
    member = space.enrol(1, reported=False)
    after(space)
    assert space.subjects == ["You're in: Freelance Finance"]
    space.finish(member, 1, 2, reported=False)
    after(space)
    space.later(minutes=30)
    assert space.subjects[1:] == ["2 lessons done in Freelance Finance"]


def test_unchanged_records_cost_no_further_request(space: Space) -> None:
    poll_now(space)
    member = space.enrol(1, reported=False)
    space.finish(member, 1, reported=False)
    assert after(space).news == 2
    asked(space)
    assert after(space).news == 0
    assert {question for question, _ in asked(space)} == {
        f"changed_since {entity}" for entity in FOLLOWED
    }


def test_another_visit_of_a_member_is_no_change(space: Space) -> None:
    poll_now(space)
    member = space.enrol(1, reported=False)
    assert after(space).news == 1
    seen = replace(member, last_access_at=space.clock.now(), updated_at=space.clock.now())
    space.source.have(Entity.COURSE_MEMBER, seen)
    assert after(space).news == 0


def test_the_poll_ignores_changes_that_were_already_reported(space: Space) -> None:
    poll_now(space)
    member = space.enrol(1)
    space.finish(member, 1)
    space.work()
    assert after(space).news == 0


def test_a_list_that_never_matches_its_record_is_a_change_once(space: Space) -> None:
    poll_now(space)
    member = space.enrol(1)
    [done] = space.finish(member, 1)
    space.work()
    shown = space.source.fetch(Entity.COMPLETED_LESSON, done)
    assert isinstance(shown, CompletedLesson)
    space.source.change_as(Entity.COMPLETED_LESSON, replace(shown, lesson_id=3))
    assert [after(space).news for _ in range(3)] == [1, 0, 0]


def test_an_old_member_gets_an_email_about_the_new_lesson_only(space: Space) -> None:
    member = space.enrol(1, reported=False)
    space.finish(member, 1, reported=False)
    space.clock.time += timedelta(days=1)
    poll_now(space)
    space.finish(member, 2, reported=False)
    after(space)
    space.later(minutes=30)
    assert space.subjects == ["You finished “Lesson 2”"]
    assert space.reasons("lesson_completed") == ["before-start", None]
    assert space.reasons("course_started") == ["before-start"]


def test_old_records_have_the_reason_before_start_in_observe_mode_too(space: Space) -> None:
    space.choose(Mode.OBSERVE)
    member = space.enrol(1, reported=False)
    space.clock.time += timedelta(minutes=1)
    poll_now(space)
    space.clock.time += timedelta(minutes=1)
    blocked = replace(member, blocked=True, updated_at=space.clock.now())
    space.source.have(Entity.COURSE_MEMBER, blocked)
    assert after(space).news == 1
    freed = replace(member, updated_at=space.clock.now())
    space.source.have(Entity.COURSE_MEMBER, freed)
    assert after(space).news == 1
    assert space.reasons("enrolled") == ["before-start"]
    assert space.outcomes() == []


def test_a_notification_about_an_old_record_leads_to_an_email(space: Space) -> None:
    member = space.enrol(1, reported=False)
    space.clock.time += timedelta(minutes=1)
    poll_now(space)
    space.notify(Entity.COURSE_MEMBER, member.record_id)
    space.work()
    assert space.subjects == ["You're in: Freelance Finance"]


def test_an_old_request_that_is_approved_now_leads_to_a_welcome(space: Space) -> None:
    member = space.enrol(1, approved=False, reported=False)
    space.clock.time += timedelta(minutes=1)
    poll_now(space)
    space.clock.time += timedelta(minutes=1)
    changed = replace(member, approved=True, updated_at=space.clock.now())
    space.source.have(Entity.COURSE_MEMBER, changed)
    after(space)
    assert space.subjects == ["You're in: Freelance Finance"]


def test_a_poll_is_due_once_per_interval_however_often_workers_are_woken(space: Space) -> None:
    poll_now(space)
    asked(space)
    poll_now(space)
    assert asked(space) == []
    after(space)
    assert len(asked(space)) == 2


def test_two_workers_do_not_poll_at_the_same_time(space: Space) -> None:
    with writing(space.engine) as connection:
        for entity in FOLLOWED:
            take_lease(connection, f"check {entity}", "another", space.clock.now(), lease_s=60)
    poll_now(space)
    assert asked(space) == []
    space.clock.time += timedelta(minutes=2)  # the other is gone
    poll_now(space)
    assert len(asked(space)) > 1


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (SourceUnavailable("no answer"), Reason.NEXUDUS_DOWN),
        (SourceThrottled("slow down"), Reason.NEXUDUS_BUSY),
        (SourceRefused("no"), Reason.NEXUDUS_REFUSED),
        (RecordUnreadable("a row has no Id"), Reason.UNREADABLE),
    ],
)
def test_the_error_that_stopped_a_poll_is_recorded_and_the_next_poll_resumes(
    space: Space, trouble: CoursebellError, reason: Reason
) -> None:
    poll_now(space)
    space.enrol(1, reported=False)
    space.clock.time += timedelta(minutes=5)
    space.source.fail_next(trouble)
    poll_now(space)
    with reading(space.engine) as connection:
        stopped = open_run(connection, KINDS, Entity.COURSE_MEMBER)
    assert stopped is not None
    assert stopped.reason is reason
    after(space, minutes=0)
    assert run_of(space, Entity.COURSE_MEMBER).reason is None
    assert space.subjects == ["You're in: Freelance Finance"]


def test_after_days_without_polls_every_change_is_found(space: Space) -> None:
    poll_now(space)
    space.clock.time += timedelta(days=3)
    space.enrol(1, reported=False)
    space.clock.time += timedelta(hours=20)
    assert after(space).news == 1
    assert space.subjects == ["You're in: Freelance Finance"]


def test_a_row_that_appears_late_on_a_list_is_found_within_the_hour(space: Space) -> None:
    poll_now(space)
    space.clock.time += timedelta(minutes=65)
    made_at = space.clock.now()
    after(space, minutes=60)
    for _ in range(3):
        after(space)
    space.enrol(1, created_at=made_at, updated_at=made_at, reported=False)
    found = [after(space).news for _ in range(13)]
    assert sum(found) == 1


def test_a_clock_set_back_does_not_stop_it(space: Space) -> None:
    poll_now(space)
    space.clock.time -= timedelta(days=3)
    space.enrol(1, reported=False)
    assert after(space).news == 1


def ask(space: Space, entity: Entity, record_id: int) -> None:
    """Ask about a record, as a person."""
    with writing(space.engine) as connection:
        said = [Notification(entity, record_id)]
        store_notifications(connection, said, Origin.PERSON, space.clock.now())
    space.work()


def test_records_requested_by_a_person_lead_to_emails_even_if_they_are_old(space: Space) -> None:
    member = space.enrol(1, reported=False)
    [first] = space.finish(member, 1, reported=False)
    space.clock.time += timedelta(days=3)
    poll_now(space)
    space.finish(member, 2, reported=False)
    after(space)
    space.later(hours=1)
    assert space.reasons("lesson_completed") == ["before-start", None]
    ask(space, Entity.COMPLETED_LESSON, first)
    space.later(hours=1)
    assert space.subjects == ["You finished “Lesson 2”", "You finished “Lesson 1”"]
    assert space.reasons("lesson_completed") == [None, None]
    ask(space, Entity.COMPLETED_LESSON, first)
    space.later(hours=1)
    assert len(space.subjects) == 2


def test_records_requested_by_a_person_lead_to_emails_about_the_time_before_sending(
    ledger_engine: Engine,
) -> None:
    space = Space(ledger_engine, rules_of(SHIPPED), begins=timedelta(minutes=5))
    member = space.enrol(1)
    space.later(minutes=10)
    assert space.reasons("enrolled") == ["before-start"]
    ask(space, Entity.COURSE_MEMBER, member.record_id)
    assert space.subjects == ["You're in: Freelance Finance"]


def test_an_enrolment_during_the_baseline_is_a_change(space: Space) -> None:
    def somebody_comes() -> None:
        space.source.when_asked("changed_since CourseMember", lambda: None)
        space.clock.time += timedelta(seconds=5)
        space.enrol(1, reported=False)

    space.source.when_asked("changed_since CourseMember", somebody_comes)
    assert poll_now(space).news == 1
    space.work()
    assert space.subjects == ["You're in: Freelance Finance"]


def learn(space: Space, text: str) -> list[tuple[str, int]]:
    """Learn what courses there are for these rules; return what the source was asked."""
    asked(space)
    refresh_catalogue(SyncContext(space.engine, space.lend, space.clock), rules_of(text))
    return asked(space)


@pytest.mark.engines(*BOTH)
def test_courses_are_listed_once_an_hour_if_a_rule_names_one_and_the_baseline_ended(
    space: Space,
) -> None:
    naming = f"{SHIPPED}\n".replace("    template: welcome\n", _NAMING)
    assert learn(space, naming) == [], "before the baseline"
    poll_now(space)
    assert learn(space, SHIPPED) == [], "no rule names a course"
    assert learn(space, naming) == [("changed_since Course", 0)]
    assert learn(space, naming) == [], "a moment ago"
    with reading(space.engine) as connection:
        known = catalogue_of(connection)
    assert known is not None
    assert set(known.courses.values()) == {"Freelance Finance"}
    [said] = unknown_names(rules_of(naming), known)
    assert said.endswith("is called Freelance Finanze; did you mean Freelance Finance?")
    space.clock.time += timedelta(hours=1)
    space.source.refuse()
    learn(space, naming)
    with reading(space.engine) as connection:
        assert catalogue_of(connection) == known


_NAMING = "    template: welcome\n    where:\n      course: Freelance Finanze\n"
