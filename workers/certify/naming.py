"""Names for rows: of people, courses, lessons and locations. Pure. Never an address."""

import re

from schemas.entity import Entity
from workers.actions.email.foreign_text import one_line
from workers.certify.values import Difference, Here, Place, SourceRow
from workers.certify.words import Kind

# A name is other people's text, and some people's name is their address.
_ADDRESS = re.compile(r"\S*@\S*")


def clean(text: str) -> str:
    """Return a name as one line, without what looks like an address of email in it."""
    return _ADDRESS.sub("***", one_line(text))


def place_of(here: Here, course_id: int | None) -> Place:
    """Return the course of that Id and its location."""
    if course_id is None:
        return Place("a course that is not known")
    return here.courses.get(course_id) or Place(f"course {course_id}")


def location_of(place: Place) -> str:
    """Return the name of a location."""
    if place.location:
        return clean(place.location)
    return "a location that is not known" if place.location_id is None else str(place.location_id)


def person_of(here: Here, coworker_id: int | None, otherwise: str | None = None) -> str:
    """Return a person's name."""
    name = clean((here.people.get(coworker_id) if coworker_id else None) or otherwise or "")
    return name or (f"person {coworker_id}" if coworker_id else "somebody")


def lesson_of(here: Here, lesson_id: int | None, otherwise: str | None = None) -> str | None:
    """Return a lesson's title; None if this is about none."""
    if lesson_id is None:
        return None
    return clean(here.lessons.get(lesson_id) or otherwise or "") or f"lesson {lesson_id}"


def of_row(here: Here, row: SourceRow, kind: Kind, detail: str) -> Difference:
    """Return a difference that is about a row."""
    whose = whose_row(here, row)
    place = place_of(here, whose[0])
    return Difference(
        kind,
        here.window.day(row.created_at),
        location_of(place),
        clean(place.title),
        person_of(here, whose[1], row.person),
        lesson_of(here, row.lesson_id, row.lesson),
        row.entity,
        row.record_id,
        detail,
    )


def whose_row(here: Here, row: SourceRow) -> tuple[int | None, int | None]:
    """Return the course and the person that a row is about, as far as that is known."""
    number = row.record_id if row.entity is Entity.COURSE_MEMBER else row.course_member_id
    member = None if number is None else here.members.get(number)
    if member is None:
        return row.course_id, row.coworker_id
    return row.course_id or member.course_id, row.coworker_id or member.coworker_id
