"""Computes which lessons count, how far a member is, and which lesson and course come next.

The source does not say which lessons count. Our rule: active lessons that the portal can complete
(by visit, button or video), unless their section is switched off. A course without any such lesson
is never finished (contract, section 8).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from schemas.entity import CompletionType, UnlockType, Visibility
from schemas.records import Course, Lesson, Section

_OFFERED = frozenset({Visibility.PUBLIC, Visibility.PAID})  # the others are not shown to everyone


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a member is in a course, in counting lessons."""

    done: int
    total: int
    finished: bool
    next_lesson: Lesson | None


def in_order(lessons: Iterable[Lesson]) -> list[Lesson]:
    """Return lessons in the portal's order: by section, then within it."""
    return sorted(
        lessons,
        key=lambda lesson: (lesson.section_order or 0, lesson.order or 0, lesson.record_id),
    )


def closed_among(sections: Iterable[Section]) -> frozenset[int]:
    """Return the Ids of the sections that are switched off; their lessons cannot be done."""
    return frozenset(section.record_id for section in sections if not section.active)


def counting_lessons(
    lessons: Iterable[Lesson],
    counts: Collection[CompletionType],
    closed_sections: Collection[int] = (),
) -> list[Lesson]:
    """Return the lessons that must be done to finish the course, in order.

    `closed_sections` are Ids. A lesson without a section, or in an unknown one, counts by itself.
    """
    return [
        lesson
        for lesson in in_order(lessons)
        if lesson.active
        and lesson.completion_type in counts
        and lesson.section_id not in closed_sections
    ]


def progress(
    lessons: Sequence[Lesson],
    done_ids: Collection[int],
    counts: Collection[CompletionType],
    closed_sections: Collection[int] = (),
) -> Progress:
    """Return how far a member with these completed lessons is."""
    counting = counting_lessons(lessons, counts, closed_sections)
    done = [lesson for lesson in counting if lesson.record_id in done_ids]
    open_lessons = [lesson for lesson in counting if lesson.record_id not in done_ids]
    # A timed lesson opens on a day that is unknown here, so it is never named as the next.
    reachable = [lesson for lesson in open_lessons if lesson.unlock_type != UnlockType.TIMED]
    return Progress(
        done=len(done),
        total=len(counting),
        finished=bool(counting) and not open_lessons,
        next_lesson=reachable[0] if reachable else None,
    )


def next_course(
    course: Course, others: Iterable[Course], enrolled_ids: Collection[int]
) -> Course | None:
    """Return the course that follows this one in its group at its location, None if none does.

    In the portal's order. It is one that members can find and begin: active, public or paid, and
    without an enrolment of theirs, whatever became of it.
    """
    if not course.group_name or course.order is None:
        return None
    after = [
        one
        for one in others
        if (one.group_name, one.business_id) == (course.group_name, course.business_id)
        and one.active
        and one.visibility in _OFFERED
        and one.record_id not in {course.record_id, *enrolled_ids}
        and one.order is not None
        and (one.order, one.record_id) > (course.order, course.record_id)
    ]
    return min(after, key=lambda one: (one.order or 0, one.record_id), default=None)
