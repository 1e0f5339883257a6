"""Does a rule's `where` hold? A table of one small question per key; all must say yes.

A name that nothing at the source has makes a rule that never acts; `unknown_names` finds these.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from ledger.catalogue import Catalogue
from schemas.records import Course, CourseMember, Lesson
from schemas.rules import Rules, Where
from schemas.text import folded, nearest


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about, as far as conditions ask for it."""

    enrolment: CourseMember
    course: Course | None
    lesson: Lesson | None


def holds(where: Where, subject: Subject) -> bool:
    """Return whether every condition that was given holds for this subject."""
    return all(question(where, subject) for question in _QUESTIONS)


def names_in(where: Where) -> list[tuple[str, str]]:
    """Return the names of a condition that the courses of the source can be asked for, by key."""
    keys = {"course": where.course, "group": where.group, "location": where.location}
    return [(key, name) for key, names in keys.items() for name in names]


def unknown_names(rules: Rules, catalogue: Catalogue | None) -> Iterator[str]:
    """Yield a sentence for each name in an enabled rule that nothing at the source has.

    Nothing is said while no course was seen, or where the list of courses leaves such names out.
    """
    if catalogue is None or not catalogue.courses:
        return
    known = {
        "course": (catalogue.courses.keys(), catalogue.courses.values()),
        "group": ((), catalogue.groups),
        "location": (catalogue.locations.keys(), catalogue.locations.values()),
    }
    for rule in rules.rules:
        for key, name in names_in(rule.where) if rule.enabled else ():
            ids, names = known[key]
            if not _is_known(name, ids, names):
                meant = nearest(name, [one for one in names if one])
                hint = f"; did you mean {meant}?" if meant else ""
                called = f"has the Id or the name {name}" if name.isdigit() else f"is called {name}"
                yield f"rule {rule.name}: no {key} at Nexudus {called}{hint}"


def _is_known(name: str, ids: Collection[int], names: Collection[str | None]) -> bool:
    if None in names:  # some are not known, so this may be one of them
        return True
    return folded(name) in {*map(str, ids), *map(folded, names)}


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
