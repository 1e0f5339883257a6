"""How far members are in their courses, for pages: many courses with a few queries."""

from collections.abc import Collection
from dataclasses import dataclass

from ledger.engine import Connection
from ledger.history import completions_of
from ledger.record_queries import present_in_courses
from schemas.entity import CompletionType, Entity
from schemas.records import Lesson, Section
from workers.decide.completion import closed_among, counting_lessons, progress


@dataclass(frozen=True, slots=True)
class CourseProgress:
    """How many of the lessons that count are done, and how many lessons do not count."""

    done: int
    total: int
    others: int
    is_finished: bool
    next_title: str | None


def progress_in(
    connection: Connection,
    enrolments: Collection[tuple[int, int]],
    counts: Collection[CompletionType],
) -> dict[tuple[int, int], CourseProgress]:
    """Return the progress of each enrolment, given as Ids of course and enrolment.

    Courses whose lessons were never read are left out.
    """
    course_ids = {course_id for course_id, _ in enrolments}
    lessons = present_in_courses(connection, Entity.LESSON, course_ids)
    sections = present_in_courses(connection, Entity.SECTION, course_ids)
    done = completions_of(connection, {member_id for _, member_id in enrolments})
    found = {}
    for course_id, member_id in enrolments:
        every = [one for one in lessons.get(course_id, ()) if isinstance(one, Lesson)]
        if not every:
            continue
        closed = closed_among(
            one for one in sections.get(course_id, ()) if isinstance(one, Section)
        )
        done_ids = {lesson_id for _, lesson_id in done.get(member_id, ())}
        state = progress(every, done_ids, counts, closed)
        counting = counting_lessons(every, counts, closed)
        next_title = None if state.next_lesson is None else state.next_lesson.title
        found[course_id, member_id] = CourseProgress(
            state.done,
            state.total,
            sum(one.active for one in every) - len(counting),
            state.finished,
            next_title,
        )
    return found
