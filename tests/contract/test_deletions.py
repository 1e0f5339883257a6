"""Deletions at the source are recorded once and lead to no email."""

import pytest

from ledger.engine import Engine, reading
from ledger.tables import events
from schemas.entity import Entity
from tests.contract.study_rig import SHIPPED, Space, rules_of

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

ABOUT_GONE = ("unenrolled", "lesson_reopened")


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    """Give a space by the shipped rules."""
    return Space(ledger_engine, rules_of(SHIPPED))


def about_gone(space: Space) -> list[tuple[str, int, int, int | None, str | None]]:
    """Return the events about what is gone: kind, course, person, lesson, reason."""
    with reading(space.engine) as connection:
        rows = connection.execute(
            events.select().where(events.c.kind.in_(ABOUT_GONE)).order_by(events.c.id)
        )
        return [
            (row.kind, row.course_id, row.coworker_id, row.lesson_id, row.reason) for row in rows
        ]


def test_a_member_who_is_no_longer_enrolled_is_an_event(space: Space) -> None:
    member = space.enrol(1)
    space.work()
    space.source.lose(Entity.COURSE_MEMBER, member.record_id)
    for _ in range(2):
        space.notify(Entity.COURSE_MEMBER, member.record_id)
        space.later(minutes=10)
    assert about_gone(space) == [("unenrolled", member.course_id, 1, None, "kind-off")]


def test_a_lesson_whose_completion_was_taken_away_is_reopened(space: Space) -> None:
    member = space.enrol(1)
    [done] = space.finish(member, 2)
    space.work()
    space.source.lose(Entity.COMPLETED_LESSON, done)
    for _ in range(2):
        space.notify(Entity.COMPLETED_LESSON, done)
        space.later(minutes=10)
    assert about_gone(space) == [("lesson_reopened", member.course_id, 1, 2, "kind-off")]


def test_completions_deleted_with_their_enrolment_have_no_events_of_their_own(space: Space) -> None:
    member = space.enrol(1)
    done = space.finish(member, 1, 2)
    space.work()
    space.source.lose(Entity.COURSE_MEMBER, member.record_id)
    for record_id in done:
        space.notify(Entity.COMPLETED_LESSON, record_id)
    space.later(minutes=10)
    assert [kind for kind, *_ in about_gone(space)] == ["unenrolled"]


def test_a_deleted_record_that_was_never_seen_has_no_event(space: Space) -> None:
    space.notify(Entity.COURSE_MEMBER, 9001)
    space.notify(Entity.COMPLETED_LESSON, 50_001)
    space.later(minutes=10)
    assert about_gone(space) == []
    assert space.lookups() == [("done", "record-gone")] * 2


def test_a_completion_missing_from_a_list_is_read_by_its_id(space: Space) -> None:
    member = space.enrol(1)
    [first] = space.finish(member, 1)
    space.work()
    space.later(minutes=10)
    space.source.lose(Entity.COMPLETED_LESSON, first)
    space.finish(member, 2)
    space.later(minutes=10)
    assert [kind for kind, *_ in about_gone(space)] == ["lesson_reopened"]


def test_finishing_it_again_is_the_same_lesson_and_no_second_email(space: Space) -> None:
    member = space.enrol(1)
    [first] = space.finish(member, 1)
    space.later(minutes=40)
    space.source.lose(Entity.COMPLETED_LESSON, first)
    space.notify(Entity.COMPLETED_LESSON, first)
    space.later(minutes=40)
    space.finish(member, 1)
    space.later(minutes=40)
    assert space.subjects == ["You're in: Freelance Finance", "You finished “Lesson 1”"]
