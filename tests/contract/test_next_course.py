"""Which course an email about a finished course can name next, from what the ledger knows."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from ledger.engine import Engine, writing
from ledger.records import SeenVersion, mark_gone, note_seen
from schemas.entity import Entity, Visibility
from schemas.records import CourseMember
from tests.builders.records import NOON, course, lesson
from tests.contract.ledger_rig import BOTH
from tests.contract.study_rig import COURSE_ID, LESSONS, SHIPPED, Space, rules_of
from tests.doubles.noting_action import NotingAction
from workers.actions.base import ActionContext
from workers.deliver.context import DeliveryTools

pytestmark = pytest.mark.engines(*BOTH)

SECOND, THIRD, OTHER = 2000, 3000, 4000


@dataclass
class Series(Space):
    """A space with three courses in one group and one in another; people study each but the last.

    The course of the rig is the first of its group.
    """

    noted: list[ActionContext] = field(default_factory=list)

    @property
    def delivery(self) -> DeliveryTools:
        tools = super().delivery
        return replace(
            tools, setup=replace(tools.setup, actions={"email": NotingAction(self.noted)})
        )

    def open_course(self, record_id: int, order: int, *, known: bool = True) -> None:
        """Have a course, and with `known` let the ledger read it."""
        self.source.have(Entity.COURSE, course(record_id=record_id, order=order))
        self.source.have(Entity.LESSON, lesson(record_id, course_id=record_id))
        if known:
            self.enrol(record_id, course_id=record_id)
            self.look_up()

    def next_of(self, member: CourseMember) -> int | None:
        """Finish the course, and return the Id of the course that the email names next."""
        self.finish(member, *LESSONS)
        self.noted.clear()
        self.later(minutes=31)
        [context] = [one for one in self.noted if one.person.coworker_id == member.coworker_id]
        assert context.template == "course-finished"
        return context.next_course.record_id if context.next_course else None


@pytest.fixture
def series(ledger_engine: Engine) -> Series:
    found = Series(ledger_engine, rules_of(SHIPPED))
    found.open_course(SECOND, 2)
    found.open_course(THIRD, 3)
    found.open_course(OTHER, 4, known=False)
    found.work()
    return found


def test_the_email_about_a_finished_course_can_name_the_next_of_its_group(series: Series) -> None:
    member = series.enrol(1)
    series.work()
    assert [one.next_course for one in series.noted if one.template == "welcome"] == [None] * 3
    series.source.asked.clear()
    assert series.next_of(member) == SECOND
    asked = {record_id for kind, record_id in series.source.asked if kind == Entity.COURSE}
    assert asked <= {COURSE_ID}, "no request is made for it"


def test_without_a_known_later_course_there_is_no_next(ledger_engine: Engine) -> None:
    series = Series(ledger_engine, rules_of(SHIPPED))
    series.open_course(SECOND, 2, known=False)
    member = series.enrol(1)
    series.work()
    assert series.next_of(member) is None


def test_a_course_that_the_member_is_on_is_passed_over_even_if_it_was_only_listed(
    series: Series,
) -> None:
    member = series.enrol(1)
    listed = SeenVersion(777, NOON, "digest", course_id=SECOND, coworker_id=1)
    with writing(series.engine) as connection:
        note_seen(connection, Entity.COURSE_MEMBER, [listed], NOON)
    series.work()
    assert series.next_of(member) == THIRD


def test_a_course_that_members_cannot_find_is_passed_over(series: Series) -> None:
    hidden = course(record_id=SECOND, order=2, visibility=Visibility.HIDDEN)
    series.source.have(Entity.COURSE, hidden)
    series.clock.time += timedelta(minutes=15)
    series.enrol(5, course_id=SECOND)
    series.work()  # which reads the course anew
    member = series.enrol(1)
    series.work()
    assert series.next_of(member) == THIRD


def test_a_course_that_is_gone_is_not_named(series: Series) -> None:
    with writing(series.engine) as connection:
        mark_gone(connection, Entity.COURSE, SECOND, series.clock.now())
    member = series.enrol(1)
    series.work()
    assert series.next_of(member) == THIRD


def test_a_course_that_was_not_read_for_a_month_is_not_named(series: Series) -> None:
    series.clock.time += timedelta(days=31)
    series.enrol(5, course_id=THIRD)
    member = series.enrol(1)
    series.work()
    assert series.next_of(member) == THIRD


def test_a_course_that_the_member_left_can_be_named(series: Series) -> None:
    member = series.enrol(1)
    listed = SeenVersion(777, NOON, "digest", course_id=SECOND, coworker_id=1)
    with writing(series.engine) as connection:
        note_seen(connection, Entity.COURSE_MEMBER, [listed], NOON)
        mark_gone(connection, Entity.COURSE_MEMBER, 777, NOON)
    series.work()
    assert series.next_of(member) == SECOND
