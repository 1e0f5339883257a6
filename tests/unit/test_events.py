"""What happened, found in records: which events, when, and under which permanent keys."""

from collections.abc import Collection
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.events import Suppression
from schemas.entity import Entity
from schemas.events import Event, EventKind
from schemas.reasons import Reason
from schemas.records import CompletedLesson, CourseMember
from tests.builders.records import (
    COURSE_ID,
    COURSE_MEMBER_ID,
    COWORKER_ID,
    NOON,
    completed_lesson,
    course_member,
    lesson,
)
from tests.builders.rules import COUNTS
from workers.decide.events import (
    EnrolmentRef,
    History,
    from_completions,
    from_enrolment,
    from_gone_completion,
    from_gone_enrolment,
)

HOUR = timedelta(hours=1)
LESSONS = [lesson(1), lesson(2), lesson(3, active=False)]


def enrolled(at_hours: int = 0) -> Event:
    return Event(
        EventKind.ENROLLED,
        f"enrolled:{COURSE_ID}:{COWORKER_ID}",
        NOON + at_hours * HOUR,
        COURSE_ID,
        COWORKER_ID,
        COURSE_MEMBER_ID,
    )


def lesson_event(kind: EventKind, key: str, at_hours: int, lesson_id: int) -> Event:
    moment = NOON + at_hours * HOUR
    return Event(kind, f"{kind}:{key}", moment, COURSE_ID, COWORKER_ID, COURSE_MEMBER_ID, lesson_id)


def started(at_hours: int, lesson_id: int) -> Event:
    key = f"{COURSE_ID}:{COWORKER_ID}"
    return lesson_event(EventKind.COURSE_STARTED, key, at_hours, lesson_id)


def lesson_done(at_hours: int, lesson_id: int) -> Event:
    key = f"{COURSE_MEMBER_ID}:{lesson_id}"
    return lesson_event(EventKind.LESSON_COMPLETED, key, at_hours, lesson_id)


def finished(at_hours: int, lesson_id: int) -> Event:
    key = f"{COURSE_ID}:{COWORKER_ID}"
    return lesson_event(EventKind.COURSE_COMPLETED, key, at_hours, lesson_id)


def completions(*done: tuple[int, int]) -> list[CompletedLesson]:
    return [
        completed_lesson(100 + place, lesson_id, NOON + at_hours * HOUR)
        for place, (lesson_id, at_hours) in enumerate(done)
    ]


def found(*done: tuple[int, int]) -> list[Event]:
    return from_completions(course_member(), completions(*done), LESSONS, COUNTS)


LATER = {"updated_at": NOON + 5 * HOUR}


def changed(kind: EventKind) -> Event:
    at = NOON + 5 * HOUR
    key = f"{kind}:{COURSE_MEMBER_ID}:{int(at.timestamp())}"
    return Event(kind, key, at, COURSE_ID, COWORKER_ID, COURSE_MEMBER_ID)


@pytest.mark.parametrize(
    ("before", "now", "events"),
    [
        (None, course_member(**LATER), [enrolled()]),
        (course_member(), course_member(**LATER), [enrolled()]),  # the same event again
        # What waited for approval happened when it was approved, however long that took.
        (
            course_member(approved=False),
            course_member(**LATER),
            [enrolled(5), changed(EventKind.ENROLMENT_APPROVED)],
        ),
        (
            course_member(blocked=True),
            course_member(**LATER),
            [enrolled(), changed(EventKind.ENROLMENT_UNBLOCKED)],
        ),
        (None, course_member(blocked=True), []),
        (
            course_member(),
            course_member(blocked=True, **LATER),
            [changed(EventKind.ENROLMENT_BLOCKED)],
        ),
        (course_member(blocked=True), course_member(blocked=True, **LATER), []),
        (
            course_member(approved=False, blocked=True),
            course_member(blocked=True, **LATER),
            [changed(EventKind.ENROLMENT_APPROVED)],
        ),
        (course_member(**LATER), course_member(blocked=True), []),  # an older version, read late
        (None, course_member(blocked=True, approved=False), []),
    ],
    ids=[
        "seen first",
        "seen again",
        "approved late",
        "let in again",
        "blocked",
        "blocked since",
        "blocked still",
        "approved while blocked",
        "blocked long ago",
        "blocked and waiting",
    ],
)
def test_an_enrolment_says_who_is_enrolled(
    before: CourseMember | None, now: CourseMember, events: list[Event]
) -> None:
    assert from_enrolment(before, now) == events


@pytest.mark.parametrize("before", [None, course_member(approved=False), course_member()])
def test_an_enrolment_without_approval_is_a_request(before: CourseMember | None) -> None:
    assert from_enrolment(before, course_member(approved=False, **LATER)) == [
        Event(
            EventKind.ENROLMENT_REQUESTED,
            f"enrolment_requested:{COURSE_MEMBER_ID}",
            NOON,
            COURSE_ID,
            COWORKER_ID,
            COURSE_MEMBER_ID,
        )
    ]


def test_enrolling_again_is_the_same_event() -> None:
    (again,) = from_enrolment(None, course_member(record_id=9002))
    assert again.key == enrolled().key


def test_without_completions_there_are_no_events() -> None:
    assert found() == []


def test_the_first_lesson_starts_the_course() -> None:
    assert found((2, 3)) == [started(3, 2), lesson_done(3, 2)]


def test_the_last_counting_lesson_finishes_the_course() -> None:
    assert found((2, 1), (1, 4)) == [
        started(1, 2),
        lesson_done(1, 2),
        lesson_done(4, 1),
        finished(4, 1),
    ]


def test_events_come_in_the_order_of_time_whatever_the_order_of_rows() -> None:
    assert found((1, 4), (2, 1)) == found((2, 1), (1, 4))


def test_a_lesson_that_does_not_count_is_completed_and_finishes_no_course() -> None:
    assert found((3, 1)) == [started(1, 3), lesson_done(1, 3)]
    events = found((1, 1), (2, 2), (3, 9))
    assert events[-2:] == [lesson_done(9, 3), finished(2, 2)]


def test_a_completed_lesson_that_no_longer_exists_is_still_completed() -> None:
    assert found((99, 1)) == [started(1, 99), lesson_done(1, 99)]


def test_a_lesson_done_twice_counts_from_the_first_time() -> None:
    assert found((1, 1), (2, 2), (1, 6)) == [
        started(1, 1),
        lesson_done(1, 1),
        lesson_done(2, 2),
        finished(2, 2),
    ]


def test_lessons_done_at_the_same_moment_keep_the_order_of_their_records() -> None:
    assert found((2, 1), (1, 1))[-1] == finished(1, 1)
    assert found((1, 1), (2, 1))[-1] == finished(1, 2)


def test_a_course_without_lessons_is_never_finished() -> None:
    events = from_completions(course_member(), completions((1, 1)), [], COUNTS)
    assert events == [started(1, 1), lesson_done(1, 1)]


@pytest.mark.parametrize(
    ("closed", "last"),
    [((), lesson_done(2, 2)), ({31}, lesson_done(2, 2)), ({32}, finished(2, 2))],
    ids=["none", "another", "its own"],
)
def test_a_lesson_in_a_closed_section_does_not_keep_the_course_open(
    closed: Collection[int], last: Event
) -> None:
    lessons = [*LESSONS, lesson(4, section_id=32)]
    done = completions((1, 1), (2, 2))
    assert from_completions(course_member(), done, lessons, COUNTS, closed)[-1] == last


def test_a_lesson_in_a_closed_section_is_done_and_does_not_finish_the_course() -> None:
    lessons = [*LESSONS, lesson(4, section_id=32)]
    done = completions((1, 1), (2, 2), (4, 3))
    events = from_completions(course_member(), done, lessons, COUNTS, {32})
    assert events[-2:] == [lesson_done(3, 4), finished(2, 2)]


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9)), max_size=8))
def test_keys_are_unique_and_do_not_depend_on_the_order_of_rows(
    done: list[tuple[int, int]],
) -> None:
    events = found(*done)
    keys = [one.key for one in events]
    assert len(keys) == len(set(keys))
    assert set(keys) == {one.key for one in found(*reversed(done))}
    assert {one.lesson_id for one in events if one.kind is EventKind.LESSON_COMPLETED} == {
        lesson_id for lesson_id, _ in done
    }


def test_every_event_names_the_record_that_shows_it() -> None:
    enrolment = (Entity.COURSE_MEMBER, COURSE_MEMBER_ID)
    for approved in (True, False):
        (event,) = from_enrolment(None, course_member(approved=approved))
        assert event.record == enrolment
    first, second = (Entity.COMPLETED_LESSON, 100), (Entity.COMPLETED_LESSON, 101)
    assert [event.record for event in found((1, 1), (2, 2))] == [first, first, second, second]


def test_the_last_of_three_counting_lessons_finishes_the_course() -> None:
    done = completions((1, 1), (2, 2), (4, 3))
    events = from_completions(course_member(), done, [*LESSONS, lesson(4)], COUNTS)
    assert events[-1] == finished(3, 4)


WHOSE = EnrolmentRef(COURSE_MEMBER_ID, COURSE_ID, COWORKER_ID)


def test_a_gone_enrolment_is_an_event_once_per_enrolment_at_the_time_it_was_found() -> None:
    event = from_gone_enrolment(WHOSE, NOON)
    assert event == Event(
        EventKind.UNENROLLED,
        f"unenrolled:{COURSE_MEMBER_ID}",
        NOON,
        COURSE_ID,
        COWORKER_ID,
        COURSE_MEMBER_ID,
    )
    assert event.record == (Entity.COURSE_MEMBER, COURSE_MEMBER_ID)


@pytest.mark.parametrize("lesson_id", [2, None])
def test_a_gone_completion_reopens_its_lesson_once_per_completion(lesson_id: int | None) -> None:
    event = from_gone_completion(100, lesson_id, WHOSE, NOON)
    assert event == Event(
        EventKind.LESSON_REOPENED,
        "lesson_reopened:100",
        NOON,
        COURSE_ID,
        COWORKER_ID,
        COURSE_MEMBER_ID,
        lesson_id,
    )
    assert event.record == (Entity.COMPLETED_LESSON, 100)


RECORD = (Entity.COURSE_MEMBER, COURSE_MEMBER_ID)
ENROLLED = from_enrolment(None, course_member())[0]
NOTHING_KNOWN = History({}, frozenset(), {})


@pytest.mark.parametrize(
    ("upto", "reason"),
    [
        (NOON + HOUR, Reason.BEFORE_START),
        (NOON, Reason.BEFORE_START),
        (NOON - HOUR, None),
    ],
)
def test_events_of_a_suppressed_record_until_then_are_suppressed(
    upto: datetime, reason: Reason | None
) -> None:
    history = History({RECORD: Suppression(Reason.BEFORE_START, upto)}, frozenset(), {})
    assert history.suppressed_reason(ENROLLED) is reason


def test_a_suppressed_record_suppresses_no_event_of_another_record() -> None:
    another = {(Entity.COURSE_MEMBER, 1): Suppression(Reason.BEFORE_START, NOON)}
    history = History(another, frozenset(), {})
    assert history.suppressed_reason(ENROLLED) is None
    assert history.suppressed_reason(enrolled()) is None  # no record is known to show it


def test_a_person_requests_the_events_of_a_record() -> None:
    assert History({}, {RECORD}, {}).is_asked_for(ENROLLED)
    assert not NOTHING_KNOWN.is_asked_for(ENROLLED)


def test_an_event_without_an_action_is_decided_again_only_on_request() -> None:
    kept = {ENROLLED.key: 1}
    assert History({}, {RECORD}, kept).is_decided_again(ENROLLED)
    assert not History({}, {RECORD}, {}).is_decided_again(ENROLLED)
    assert not History({}, frozenset(), kept).is_decided_again(ENROLLED)


def test_emails_about_records_for_review_are_held_as_imported() -> None:
    assert History({}, frozenset(), {}, reviewed={RECORD}).held_for(ENROLLED) is Reason.IMPORTED
    assert History({}, frozenset(), {}, all_reviewed=True).held_for(ENROLLED) is Reason.IMPORTED
    assert NOTHING_KNOWN.held_for(ENROLLED) is None
