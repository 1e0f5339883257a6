"""Which lessons count, how far somebody is, and what comes next.

The source does not say which lessons count. Ours: active lessons that the portal can complete
(by visit, button or video); a course without any is never finished (contract, section 8).
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from schemas.records import Lesson
from schemas.vocabulary import CompletionType, UnlockType


@dataclass(frozen=True, slots=True)
class Progress:
    """How far somebody is in a course, in counting lessons."""

    done: int
    total: int
    finished: bool
    next_lesson: Lesson | None


def in_order(lessons: Iterable[Lesson]) -> list[Lesson]:
    """Return lessons in the order of the portal: by section, then within it."""
    return sorted(
        lessons,
        key=lambda lesson: (lesson.section_order or 0, lesson.order or 0, lesson.record_id),
    )


def counting_lessons(lessons: Iterable[Lesson], counts: Collection[CompletionType]) -> list[Lesson]:
    """Return those lessons that must be done to finish the course, in order."""
    return [
        lesson for lesson in in_order(lessons) if lesson.active and lesson.completion_type in counts
    ]


def progress(
    lessons: Sequence[Lesson], done_ids: Collection[int], counts: Collection[CompletionType]
) -> Progress:
    """Return how far somebody with these completed lessons is."""
    counting = counting_lessons(lessons, counts)
    done = [lesson for lesson in counting if lesson.record_id in done_ids]
    open_lessons = [lesson for lesson in counting if lesson.record_id not in done_ids]
    # A timed lesson opens on a day we cannot be sure of here, so it is not promised as the next.
    reachable = [lesson for lesson in open_lessons if lesson.unlock_type != UnlockType.TIMED]
    return Progress(
        done=len(done),
        total=len(counting),
        finished=bool(counting) and not open_lessons,
        next_lesson=reachable[0] if reachable else None,
    )
