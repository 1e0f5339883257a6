"""Does a rule's `where` hold? A table of one small question per key; all must say yes."""

from collections.abc import Callable
from dataclasses import dataclass

from schemas.records import Course, CourseMember, Lesson
from schemas.rules import Where
from schemas.text import folded


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about, as far as conditions ask for it."""

    enrolment: CourseMember
    course: Course | None
    lesson: Lesson | None


def holds(where: Where, subject: Subject) -> bool:
    """Return whether every condition that was given holds for this subject."""
    return all(question(where, subject) for question in _QUESTIONS)


def _course(where: Where, subject: Subject) -> bool:
    title = subject.course.title if subject.course else subject.enrolment.course_title
    return _named(where.course, subject.enrolment.course_id, title)


def _location(where: Where, subject: Subject) -> bool:
    if not where.location:
        return True
    course = subject.course
    return course is not None and _named(where.location, course.business_id, course.business_name)


def _group(where: Where, subject: Subject) -> bool:
    name = subject.course.group_name if subject.course else None
    return not where.group or folded(name) in {folded(group) for group in where.group}


def _team(where: Where, subject: Subject) -> bool:
    teams = {folded(team) for team in (subject.enrolment.team_names or "").split(",")}
    return not where.team or bool(teams & {folded(team) for team in where.team})


def _coworker_type(where: Where, subject: Subject) -> bool:
    return not where.coworker_type or subject.enrolment.coworker_kind in where.coworker_type


def _visibility(where: Where, subject: Subject) -> bool:
    visibility = subject.course.visibility if subject.course else None
    return not where.visibility or visibility in where.visibility


def _completion_type(where: Where, subject: Subject) -> bool:
    kind = subject.lesson.completion_type if subject.lesson else None
    return not where.completion_type or kind in where.completion_type


def _named(wanted: tuple[str, ...], record_id: int, name: str | None) -> bool:
    return not wanted or bool({str(record_id), folded(name)} & {folded(one) for one in wanted})


_QUESTIONS: tuple[Callable[[Where, Subject], bool], ...] = (
    _course,
    _location,
    _group,
    _team,
    _coworker_type,
    _visibility,
    _completion_type,
)
