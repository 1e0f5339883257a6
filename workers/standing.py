"""Where the members of each course are: who has finished, and at which lesson the others stand."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from ledger.courses import course_titles
from ledger.engine import Connection
from ledger.enrolments import ActiveEnrolment, active_enrolments, finished_courses
from ledger.record_queries import present_in_courses
from schemas.entity import CompletionType, Entity
from schemas.records import Lesson, Record, Section
from workers.decide.completion import Progress, closed_among, counting_lessons, progress


@dataclass(frozen=True, slots=True)
class StandingAt:
    """How many stand before one lesson, and some of them, the longest idle first.

    `title` is None for those who cannot continue: the rest opens later, or no lesson counts.
    """

    title: str | None
    number: int
    longest_idle: tuple[ActiveEnrolment, ...]


@dataclass(frozen=True, slots=True)
class CourseStanding:
    """How many have a place on a course, how far they are, and where those stand who are not done.

    `lessons` are in the order of the course, without those where nobody stands; `total` is how many
    there are that count.
    """

    course_id: int
    title: str
    enrolled: int
    not_started: int
    finished: int
    total: int
    lessons: tuple[StandingAt, ...]

    @property
    def under_way(self) -> int:
        """How many have finished a lesson, and not the course."""
        return self.enrolled - self.not_started - self.finished


def course_standings(
    connection: Connection, counts: Collection[CompletionType], most: int
) -> list[CourseStanding]:
    """Return the standing of each course that has members, by title, with so many at each lesson.

    A member counts once on a course, with the enrolment in which they were last active. Who was
    once found to have finished a course has, also if it got lessons since.
    """
    newest: dict[tuple[int, int], ActiveEnrolment] = {}
    for one in active_enrolments(connection):
        known = newest.get((one.course_id, one.coworker_id))
        if known is None or known.last_active_at <= one.last_active_at:
            newest[one.course_id, one.coworker_id] = one
    by_course: dict[int, list[ActiveEnrolment]] = defaultdict(list)
    for one in newest.values():
        by_course[one.course_id].append(one)
    ended = finished_courses(connection)
    titles = course_titles(connection)
    lessons = present_in_courses(connection, Entity.LESSON, by_course)
    sections = present_in_courses(connection, Entity.SECTION, by_course)
    found = []
    for course_id, members in by_course.items():
        course = _Outline(lessons.get(course_id, ()), sections.get(course_id, ()), counts)
        title = titles.get(course_id) or f"course {course_id}"
        found.append(_standing(course_id, title, course, members, ended, most))
    return sorted(found, key=lambda one: (one.title.casefold(), one.course_id))


class _Outline:
    """The lessons of a course; computes the progress of each set of finished lessons once."""

    def __init__(
        self,
        lessons: Iterable[Record],
        sections: Iterable[Record],
        counts: Collection[CompletionType],
    ) -> None:
        self._lessons = [one for one in lessons if isinstance(one, Lesson)]
        self._closed = closed_among(one for one in sections if isinstance(one, Section))
        self._counts = counts
        self._known: dict[frozenset[int], Progress] = {}

    @property
    def order(self) -> list[int]:
        """The Ids of the lessons that count, in order."""
        counting = counting_lessons(self._lessons, self._counts, self._closed)
        return [one.record_id for one in counting]

    def progress(self, done: frozenset[int]) -> Progress:
        """Return the progress of a member who finished these lessons."""
        if done not in self._known:
            self._known[done] = progress(self._lessons, done, self._counts, self._closed)
        return self._known[done]


def _standing(  # noqa: PLR0913, PLR0917 - a course, its members, and how many of them to name
    course_id: int,
    title: str,
    course: _Outline,
    members: Sequence[ActiveEnrolment],
    ended: Collection[tuple[int, int]],
    most: int,
) -> CourseStanding:
    standing: dict[int | None, list[ActiveEnrolment]] = defaultdict(list)
    titles: dict[int | None, str | None] = {}
    for one in members:
        state = course.progress(one.done)
        if state.finished or (one.course_id, one.coworker_id) in ended:
            continue
        lesson = state.next_lesson
        lesson_id = None if lesson is None else lesson.record_id
        titles[lesson_id] = None if lesson is None else lesson.title
        standing[lesson_id].append(one)
    not_done = [one for several in standing.values() for one in several]
    return CourseStanding(
        course_id,
        title,
        len(members),
        sum(not one.has_begun for one in not_done),
        len(members) - len(not_done),
        len(course.order),
        tuple(
            StandingAt(titles[place], len(standing[place]), _longest_idle(standing[place], most))
            for place in (*course.order, None)
            if place in standing
        ),
    )


def _longest_idle(members: Iterable[ActiveEnrolment], most: int) -> tuple[ActiveEnrolment, ...]:
    ordered = sorted(members, key=lambda one: (one.last_active_at, one.course_member_id))
    return tuple(ordered[:most])
