"""Backfill of a window and of a person: what is asked about, in whose name, and how often."""

from datetime import datetime, timedelta

import pytest

from ledger.checks import CheckKind, Run, runs
from ledger.engine import Engine, reading
from ledger.intake import Origin
from ledger.tables import notifications, sightings
from schemas.entity import FOLLOWED, Entity
from schemas.errors import SourceRefused, SourceUnavailable
from schemas.reasons import Reason
from schemas.states import Mode
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of
from workers.check.backfill import Found, person, window
from workers.check.check import check_all
from workers.check.tools import Checking
from workers.source.budget import Patience, Urgency

ANY_TIME = SHIPPED.replace("quiet_hours: 20:00-08:00", "quiet_hours: none")


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(ANY_TIME))


def tools(space: Space) -> Checking:
    return Checking(space.engine, space.lend, space.clock)


def back(space: Space, **duration: float) -> datetime:
    return space.clock() - timedelta(**duration)


def last_hours(space: Space, hours: float = 2, *, dry_run: bool = False) -> Found:
    return window(tools(space), back(space, hours=hours), space.clock(), dry_run=dry_run)


def origins(space: Space) -> list[tuple[str, int]]:
    """Return from where each notification came, and about which record."""
    with reading(space.engine) as connection:
        rows = connection.execute(notifications.select().order_by(notifications.c.id))
        return [(row.origin, row.record_id) for row in rows]


def backfills(space: Space) -> list[Run]:
    with reading(space.engine) as connection:
        return runs(connection, [CheckKind.BACKFILL], back(space, days=99))


def test_a_window_brings_what_nobody_told_us_of_and_the_next_brings_nothing(space: Space) -> None:
    member = space.enrol(1, told=False)
    done = space.finish(member, 1, told=False)
    found = last_hours(space)
    assert found.news == {Entity.COURSE_MEMBER: 1, Entity.COMPLETED_LESSON: 1}
    assert sorted(origins(space)) == [("backfill", number) for number in [9001, *done]]
    space.work()
    space.later(hours=1)
    assert len(space.subjects) == 2
    again = last_hours(space, 4)
    assert set(again.news.values()) == {0}
    assert again.looked_at == {Entity.COURSE_MEMBER: 1, Entity.COMPLETED_LESSON: 1}
    space.work()
    assert (len(origins(space)), len(space.subjects)) == (2, 2)


def test_what_was_told_and_decided_on_is_not_asked_about_again(space: Space) -> None:
    member = space.enrol(1)
    space.finish(member, 1)
    space.work()
    unheard = space.finish(member, 2, told=False)
    found = last_hours(space)
    assert [row.record_id for row in found.rows] == unheard


def test_what_lies_outside_the_window_stays_there(space: Space) -> None:
    member = space.enrol(1, told=False)
    space.later(hours=3)
    inside = space.finish(member, 1, told=False)
    space.later(hours=3)
    space.finish(member, 2, told=False)
    found = window(tools(space), back(space, hours=4), back(space, hours=2))
    assert [row.record_id for row in found.rows] == inside


def test_an_enrolment_that_changed_after_the_window_stays_there(space: Space) -> None:
    space.enrol(1, told=False)
    space.later(hours=3)
    found = window(tools(space), back(space, hours=2), back(space, hours=1))
    assert found.looked_at == {Entity.COURSE_MEMBER: 0, Entity.COMPLETED_LESSON: 0}
    space.enrol(2, told=False)
    found = window(tools(space), back(space, hours=4), back(space, hours=1))
    assert [row.record_id for row in found.rows] == [9001]


def test_a_dry_run_says_the_same_and_writes_nothing(space: Space) -> None:
    member = space.enrol(1, told=False)
    space.finish(member, 1, told=False)
    would = [last_hours(space, dry_run=True), person(tools(space), 1, dry_run=True)]
    with reading(space.engine) as connection:
        assert connection.execute(sightings.select()).all() == []
    assert (origins(space), space.lookups(), backfills(space)) == ([], [], [])
    assert would[0].news == would[1].news == last_hours(space).news


def test_only_so_many_rows_are_kept_and_all_are_counted(space: Space) -> None:
    for number in range(1, 8):
        space.enrol(number, told=False)
    found = window(tools(space), back(space, hours=1), space.clock(), keep=3)
    assert (len(found.rows), found.news[Entity.COURSE_MEMBER]) == (3, 7)


def test_it_is_written_down_as_a_run(space: Space) -> None:
    space.enrol(1, told=False)
    last_hours(space)
    [run] = backfills(space)
    assert run.ended_at is not None
    assert (run.entity, run.rows, run.news) == (None, 1, 1)
    assert run.since == back(space, hours=2)
    assert run.report == {"news": {"CourseMember": 1, "CourseCompletedLesson": 0}}


def test_trouble_at_the_source_is_written_down_and_told_and_what_came_before_is_kept(
    space: Space,
) -> None:
    member = space.enrol(1, told=False)
    space.finish(member, 1, told=False)

    def fall() -> None:
        raise SourceUnavailable("the source answered 503")

    space.source.when_asked("created_between CourseCompletedLesson", fall)
    with pytest.raises(SourceUnavailable):
        last_hours(space)
    [run] = backfills(space)
    assert (run.ended_at, run.reason, run.news) == (None, Reason.NEXUDUS_DOWN, 1)
    space.source.when_asked("created_between CourseCompletedLesson", lambda: None)
    assert last_hours(space).news == {Entity.COURSE_MEMBER: 0, Entity.COMPLETED_LESSON: 1}


def old_student(space: Space) -> None:
    """Have somebody whose enrolment and lesson were there before the first check."""
    member = space.enrol(1, told=False)
    space.finish(member, 1, told=False)
    space.clock.now += timedelta(minutes=5)
    check_all(tools(space), for_s=60)
    space.work()
    assert (origins(space), space.subjects) == ([], [])


def test_what_was_there_before_we_began_is_left_alone_by_a_window(space: Space) -> None:
    old_student(space)
    assert set(last_hours(space).news.values()) == {0}
    space.later(hours=1)
    assert space.subjects == []


def test_what_was_there_before_we_began_is_written_about_if_a_person_wants_it(
    space: Space,
) -> None:
    old_student(space)
    wanted = window(tools(space), back(space, hours=2), space.clock(), origin=Origin.PERSON)
    assert set(wanted.news.values()) == {1}
    space.work()
    space.later(hours=1)
    assert len(space.subjects) == 2
    again = window(tools(space), back(space, hours=9), space.clock(), origin=Origin.PERSON)
    assert set(again.news.values()) == {0}


def test_a_person_is_asked_about_as_a_whole_and_written_to(space: Space) -> None:
    old_student(space)
    found = person(tools(space), 1)
    assert found.news == {Entity.COURSE_MEMBER: 1, Entity.COMPLETED_LESSON: 1}
    assert {origin for origin, _ in origins(space)} == {"person"}
    space.work()
    space.later(hours=1)
    assert len(space.subjects) == 2
    person(tools(space), 1)
    space.later(hours=1)
    assert len(space.subjects) == 2


def test_a_person_is_asked_about_again_whatever_we_know_and_their_own_record_too(
    space: Space,
) -> None:
    space.enrol(1)
    space.work()
    space.source.have(Entity.COWORKER, coworker(1, email="new@example.org"))
    space.source.asked.clear()
    assert person(tools(space), 1).news[Entity.COURSE_MEMBER] == 1
    space.work()
    assert ("Coworker", 1) in space.source.asked
    assert ("CourseMember", 9001) in space.source.asked


def test_who_is_asked_about_is_written_to_however_old_it_is(space: Space) -> None:
    space.enrol(1, created_at=back(space, days=40), told=False)
    space.enrol(2, created_at=back(space, days=3), told=False)
    for number in (1, 2):
        person(tools(space), number)
    space.work()
    assert space.subjects == ["You're in: Freelance Finance"] * 2


def test_the_other_guards_hold_for_a_person_too(space: Space) -> None:
    space.enrol(1, created_at=back(space, days=3), blocked=True, told=False)
    space.choose(Mode.OBSERVE)
    space.enrol(2, created_at=back(space, days=3), told=False)
    for number in (1, 2):
        person(tools(space), number)
    space.work()
    assert space.outcomes() == [("held", "observe")]


def test_somebody_waits_for_a_person_and_nobody_for_a_window(space: Space) -> None:
    asked: list[Urgency] = []

    def lend(patience: Patience):  # type: ignore[no-untyped-def] # noqa: ANN202 - as the rig's
        asked.append(patience.urgency)
        return space.lend(patience)

    checking = Checking(space.engine, lend, space.clock)
    person(checking, 1)
    window(checking, back(space, hours=1), space.clock(), FOLLOWED)
    assert asked == [Urgency.PERSON, Urgency.WORK]


def test_a_person_without_any_enrolment_is_no_fault_and_a_refusal_is(space: Space) -> None:
    assert person(tools(space), 99).news == {}
    space.source.refuse()
    with pytest.raises(SourceRefused):
        person(tools(space), 99)
    assert backfills(space)[0].reason is Reason.NEXUDUS_REFUSED


def test_a_window_of_one_kind_is_written_down_as_such(space: Space) -> None:
    window(tools(space), back(space, hours=1), space.clock(), [Entity.COMPLETED_LESSON])
    assert backfills(space)[0].entity is Entity.COMPLETED_LESSON
