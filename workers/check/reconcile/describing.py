"""Says of whom and of what a difference is, as far as anything here knows. It never asks."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from ledger.engine import Connection
from ledger.people import names_of
from ledger.record_queries import KnownRecord, known_among
from ledger.records import References, records_of
from schemas.entity import Entity
from schemas.records import Course, CourseMember, Lesson
from workers.check.reconcile.values import Difference


def described(
    connection: Connection, found: Collection[Difference], listed: Mapping[int, Difference]
) -> list[Difference]:
    """Return these with what their rows did not say: whose they are, the course, the titles.

    `listed` are enrolments that differ too, by Id: the list said of them what is not known here.
    """
    placed = _placed(connection, found, listed)
    people = names_of(connection, _numbers(one.references.coworker_id for one in placed))
    courses = _titles(
        connection, Entity.COURSE, _numbers(one.references.course_id for one in placed)
    )
    lessons = _titles(
        connection, Entity.LESSON, _numbers(one.references.lesson_id for one in placed)
    )
    return [
        replace(
            one,
            person=one.person or people.get(one.references.coworker_id or 0),
            course=one.course or courses.get(one.references.course_id or 0),
            lesson=one.lesson or lessons.get(one.references.lesson_id or 0),
        )
        for one in placed
    ]


def _placed(
    connection: Connection, found: Collection[Difference], listed: Mapping[int, Difference]
) -> list[Difference]:
    """Return these with what their enrolments say of them."""
    needed = _numbers(one.references.course_member_id for one in found)
    known = known_among(connection, Entity.COURSE_MEMBER, needed)
    read = records_of(connection, Entity.COURSE_MEMBER, needed)
    placed = []
    for one in found:
        enrolment = one.references.course_member_id or 0
        stored = read.get(enrolment)
        record = None if stored is None else stored.record
        ids, person, course = known.get(enrolment, KnownRecord()).references, None, None
        if isinstance(record, CourseMember):
            ids = References(record.course_id, record.coworker_id)
            person, course = record.full_name, record.course_title
        elif enrolment in listed:
            told = listed[enrolment]
            ids, person, course = told.references, told.person, told.course
        references = replace(
            one.references,
            course_id=one.references.course_id or ids.course_id,
            coworker_id=one.references.coworker_id or ids.coworker_id,
        )
        placed.append(
            replace(
                one,
                references=references,
                person=one.person or person,
                course=one.course or course,
            )
        )
    return placed


def _titles(connection: Connection, entity: Entity, record_ids: Sequence[int]) -> dict[int, str]:
    return {
        record_id: one.record.title
        for record_id, one in records_of(connection, entity, record_ids).items()
        if isinstance(one.record, (Course, Lesson))
    }


def _numbers(ids: Iterable[int | None]) -> list[int]:
    return sorted({one for one in ids if one is not None})
