"""People: find a member by name, address, Id or course."""

from dataclasses import dataclass

from flask import Response

from ledger.courses import course_titles
from ledger.engine import Connection, reading
from ledger.members import members_of_course
from ledger.people import names_of
from ledger.stories import newest_events
from schemas.text import folded, searched
from service.desk.visit import Visit, id_in
from service.people_search import PersonMatch, matching_people

_LONGEST_QUERY = 200
_MOST_RECENT = 50
_MOST_COURSES = 10
_MOST_MEMBERS = 100
_MOST_READ = 200  # matches after which a search ends


@dataclass(frozen=True, slots=True)
class FoundCourse:
    """A course whose title contains what was typed."""

    course_id: int
    title: str


def show(visit: Visit) -> Response:
    """Show who matches, who is on a course, or of whom something happened last."""
    typed = visit.query("q", _LONGEST_QUERY)
    by_part = visit.may_operate
    course_id = visit.number_in_query("course")
    with reading(visit.pages.engine) as connection:
        if course_id is not None:
            title = course_titles(connection).get(course_id)
            found = _on_course(connection, course_id)
            return visit.page("people.html", typed="", people=found, courses=[], course=title)
        found = (
            matching_people(connection, typed, _MOST_READ, by_part=by_part)
            if typed
            else _recent(connection)
        )
        courses = list(_courses(connection, typed)) if typed else []
    if typed and len(found) == 1 and not courses:
        return visit.see_other(f"/people/{found[0].coworker_id}")
    number = id_in(typed)
    if number is not None and not found and not courses:
        return visit.see_other(f"/people/{number}")  # where Nexudus can be asked about them
    return visit.page("people.html", typed=typed, people=found, courses=courses, course=None)


def _recent(connection: Connection) -> list[PersonMatch]:
    """Return of whom something happened last."""
    found = {
        one.coworker_id: PersonMatch(one.coworker_id, one.person, None, was_read=False)
        for one in newest_events(connection, _MOST_RECENT)
        if one.person is not None
    }
    return list(found.values())


def _on_course(connection: Connection, course_id: int) -> list[PersonMatch]:
    listed = members_of_course(connection, course_id, _MOST_MEMBERS)
    names = names_of(connection, [one.coworker_id for one in listed])
    return [
        PersonMatch(one.coworker_id, names.get(one.coworker_id, one.full_name), None)
        for one in listed
    ]


def _courses(connection: Connection, typed: str) -> list[FoundCourse]:
    wanted = searched(typed)
    found = [
        FoundCourse(course_id, title)
        for course_id, title in course_titles(connection).items()
        if wanted in searched(title)
    ]
    return sorted(found, key=lambda one: folded(one.title))[:_MOST_COURSES]
