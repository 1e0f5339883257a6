"""Where people are, and which parts of a course are closed: what both change about an email."""

from datetime import timedelta

import pytest

from ledger.engine import Engine, reading, writing
from ledger.people import accept_person, person_of
from ledger.records import accept_record
from schemas.entity import Entity, UnlockType
from schemas.records import Section, TimeZone
from tests.builders.records import COURSE_ID, NOON, lesson
from tests.contract.study_rig import SHIPPED, Space, coworker, rules_of

pytestmark = pytest.mark.engines("sqlite")  # see conftest.py

TOKYO = TimeZone(77, NOON, "Tokyo Standard Time")
BASICS, EXTRAS = 31, 32


@pytest.fixture
def space(ledger_engine: Engine) -> Space:
    return Space(ledger_engine, rules_of(SHIPPED))


def live_in_tokyo(space: Space, number: int) -> None:
    """Let person `number` have a zone of their own, there and in the ledger."""
    moved = coworker(number, time_zone_id=TOKYO.record_id)
    space.source.have(Entity.TIME_ZONE, TOKYO)
    space.source.have(Entity.COWORKER, moved)
    with writing(space.engine) as connection:
        accept_person(connection, moved, space.clock.now(), "Asia/Tokyo")


def have_section(space: Space, record_id: int, *, active: bool) -> None:
    """Let the course have a section, there and in the ledger."""
    found = Section(
        record_id, space.clock.now(), COURSE_ID, "Part", active, 1, UnlockType.IMMEDIATE, 0
    )
    space.source.have(Entity.SECTION, found)
    with writing(space.engine) as connection:
        accept_record(connection, Entity.SECTION, found, space.clock.now())


def text_of_last(space: Space) -> str:
    body = space.mailer.caught[-1].message.get_body(("plain",))
    assert body is not None
    text: str = body.get_content()
    return text


def test_it_is_night_where_the_person_is_and_noon_where_the_others_are(space: Space) -> None:
    space.enrol(1)
    live_in_tokyo(space, 1)
    space.enrol(2)
    space.work()  # noon in Lisbon, nine in the evening in Tokyo
    assert space.outcomes_by_person("welcome") == {
        1: ("waiting", "quiet-hours"),
        2: ("done", None),
    }
    space.at(NOON.replace(hour=22, minute=59))
    assert len(space.mailer.caught) == 1
    space.later(minutes=46)  # past eight in the morning there, and night in Lisbon
    assert [mail.recipient for mail in space.mailer.caught[1:]] == ["person1@example.org"]


def test_a_person_without_a_known_zone_has_the_quiet_hours_of_the_default_zone(
    space: Space,
) -> None:
    space.at(NOON.replace(hour=22))
    space.enrol(1)
    space.work()
    assert space.outcomes() == [("waiting", "quiet-hours")]
    space.at(NOON.replace(hour=8, minute=45) + timedelta(days=1))
    assert [mail.recipient for mail in space.mailer.caught] == ["person1@example.org"]


def test_an_unknown_zone_in_the_ledger_falls_back_to_the_default_zone(space: Space) -> None:
    space.enrol(1)
    live_in_tokyo(space, 1)
    with writing(space.engine) as connection:
        known = person_of(connection, 1)
        assert known is not None
        assert known.zone == "Asia/Tokyo"
        mars = coworker(1, time_zone_id=TOKYO.record_id)
        accept_person(connection, mars, space.clock.now(), "Mars/Olympus")
    space.source.have(Entity.TIME_ZONE, TimeZone(TOKYO.record_id, NOON, "Mars Standard Time"))
    space.work()
    assert space.outcomes() == [("done", None)]


@pytest.mark.parametrize(("active", "said"), [(True, "1 of 3 lessons"), (False, "1 of 2 lessons")])
def test_lessons_of_a_closed_section_are_not_counted_in_an_email(
    space: Space,
    active: bool,  # noqa: FBT001 - a column of the table
    said: str,
) -> None:
    space.source.have(Entity.LESSON, lesson(2, section_id=BASICS), lesson(3, section_id=EXTRAS))
    have_section(space, BASICS, active=True)
    have_section(space, EXTRAS, active=active)
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.later(minutes=31)
    assert said in text_of_last(space)


def test_the_next_lesson_is_never_in_a_closed_section(space: Space) -> None:
    space.source.have(Entity.LESSON, lesson(2, section_id=EXTRAS))
    have_section(space, EXTRAS, active=False)
    member = space.enrol(1)
    space.work()
    space.finish(member, 1)
    space.later(minutes=31)
    assert "Lesson 3" in text_of_last(space)
    assert "Lesson 2" not in text_of_last(space)


def test_a_person_keeps_their_zone_while_zones_cannot_be_read(space: Space) -> None:
    space.enrol(1)
    live_in_tokyo(space, 1)
    space.source.lose(Entity.TIME_ZONE, TOKYO.record_id)
    space.work()
    with reading(space.engine) as connection:
        known = person_of(connection, 1)
    assert known is not None
    assert known.zone == "Asia/Tokyo"
