"""The conditions of a rule's `where`: one small comparison per key, and all must hold."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from schemas.records import Course, CourseMember, Lesson
from schemas.rules import Where, is_named
from schemas.text import folded
from schemas.trace import CheckedCondition
from workers.decide.completion import Progress


@dataclass(frozen=True, slots=True)
class Subject:
    """What an event is about, as far as conditions need it."""

    enrolment: CourseMember
    course: Course | None
    lesson: Lesson | None
    progress: Progress | None = None

    @property
    def title(self) -> str | None:
        """The title of the course, if it is known."""
        return self.course.title if self.course else self.enrolment.course_title


def holds(where: Where, subject: Subject) -> bool:
    """Return whether every given condition holds for this subject, and no excluded one matches."""
    return all(is_met for _, _, is_met in _compared(where, subject))


def checked(where: Where, subject: Subject) -> tuple[CheckedCondition, ...]:
    """Return the given conditions, each with the value of this subject."""
    return tuple(
        CheckedCondition(
            name, _in_words(group, name), _SAW[name](subject), is_met, group is not where
        )
        for group, name, is_met in _compared(where, subject)
    )


def _compared(where: Where, subject: Subject) -> Iterator[tuple[Where, str, bool]]:
    """Yield the conditions that are given: in which group, its key, and whether it is met."""
    for group in (where, where.excluded):
        if group is None:
            continue
        for name, matches in _MATCHES.items():
            if getattr(group, name):  # an empty one is not given
                yield group, name, matches(group, subject) is (group is where)


def _in_words(group: Where, name: str) -> tuple[str, ...]:
    """Return what a condition wants, as it is written in the rules file."""
    if name == "completion" and group.completion is not None:
        least, most = group.completion
        return (f"{least}-{most}",)
    return tuple(_word(one) for one in getattr(group, name))


def _word(value: str | Enum) -> str:
    return value.name.lower() if isinstance(value, Enum) else value


def _course(where: Where, subject: Subject) -> bool:
    return is_named(where.course, subject.enrolment.course_id, subject.title)


def _location(where: Where, subject: Subject) -> bool:
    course = subject.course
    return course is not None and is_named(where.location, course.business_id, course.business_name)


def _group(where: Where, subject: Subject) -> bool:
    return folded(_seen_group(subject)) in {folded(group) for group in where.group}


def _team(where: Where, subject: Subject) -> bool:
    teams = {folded(team) for team in (subject.enrolment.team_names or "").split(",")}
    return bool(teams & {folded(team) for team in where.team})


def _coworker_type(where: Where, subject: Subject) -> bool:
    return subject.enrolment.coworker_kind in where.coworker_type


def _visibility(where: Where, subject: Subject) -> bool:
    return subject.course is not None and subject.course.visibility in where.visibility


def _completion_type(where: Where, subject: Subject) -> bool:
    return subject.lesson is not None and subject.lesson.completion_type in where.completion_type


def _host(where: Where, subject: Subject) -> bool:
    return folded(_seen_host(subject)) in {folded(one) for one in where.host}


def _completion(where: Where, subject: Subject) -> bool:
    percent = _percent(subject)
    if where.completion is None or percent is None:
        return False
    least, most = where.completion
    return least <= percent <= most


def _percent(subject: Subject) -> int | None:
    done = subject.progress
    return 100 * done.done // done.total if done is not None and done.total > 0 else None


def _seen_group(subject: Subject) -> str | None:
    return subject.course.group_name if subject.course else None


def _seen_host(subject: Subject) -> str | None:
    return subject.course.host_name if subject.course else None


def _seen_location(subject: Subject) -> str | None:
    return subject.course.business_name if subject.course else None


def _seen_coworker_type(subject: Subject) -> str | None:
    kind = subject.enrolment.coworker_kind
    return None if kind is None else _word(kind)


def _seen_visibility(subject: Subject) -> str | None:
    visibility = subject.course.visibility if subject.course else None
    return None if visibility is None else _word(visibility)


def _seen_completion_type(subject: Subject) -> str | None:
    kind = subject.lesson.completion_type if subject.lesson else None
    return None if kind is None else _word(kind)


def _seen_completion(subject: Subject) -> str | None:
    percent = _percent(subject)
    return None if percent is None else str(percent)


# By the names of the fields of `Where`: whether a subject matches, and what it has.
_MATCHES: Mapping[str, Callable[[Where, Subject], bool]] = {
    "course": _course,
    "location": _location,
    "group": _group,
    "team": _team,
    "coworker_type": _coworker_type,
    "visibility": _visibility,
    "completion_type": _completion_type,
    "host": _host,
    "completion": _completion,
}
_SAW: Mapping[str, Callable[[Subject], str | None]] = {
    "course": lambda subject: subject.title,
    "location": _seen_location,
    "group": _seen_group,
    "team": lambda subject: subject.enrolment.team_names,
    "coworker_type": _seen_coworker_type,
    "visibility": _seen_visibility,
    "completion_type": _seen_completion_type,
    "host": _seen_host,
    "completion": _seen_completion,
}
