"""What happened: events, from a record, its snapshot and what else is known of the enrolment.

Keys are permanent, so finding an event again is harmless: the ledger keeps each once.
"""

from collections.abc import Collection, Sequence

from schemas.events import (
    Event,
    EventKind,
    course_completed_key,
    course_started_key,
    enrolled_key,
    enrolment_requested_key,
    lesson_completed_key,
)
from schemas.records import CompletedLesson, CourseMember, Lesson
from schemas.vocabulary import CompletionType
from workers.decide.completion import counting_lessons, progress


def from_enrolment(before: CourseMember | None, now: CourseMember) -> list[Event]:
    """Return what an enrolment's record says.

    An enrolment that waited for approval counts from the change that approved it.
    """
    if now.blocked:
        return []
    waited = before is not None and not before.approved
    if now.approved:
        return [
            Event(
                EventKind.ENROLLED,
                enrolled_key(now.course_id, now.coworker_id),
                now.updated_at if waited else now.created_at,
                now.course_id,
                now.coworker_id,
                now.record_id,
            )
        ]
    return [
        Event(
            EventKind.ENROLMENT_REQUESTED,
            enrolment_requested_key(now.record_id),
            now.created_at,
            now.course_id,
            now.coworker_id,
            now.record_id,
        )
    ]


def from_completions(
    enrolment: CourseMember,
    completions: Sequence[CompletedLesson],
    lessons: Sequence[Lesson],
    counts: Collection[CompletionType],
    closed_sections: Collection[int] = (),
) -> list[Event]:
    """Return what an enrolment's completed lessons say, the earliest first.

    `completions` are all there are of it, `lessons` all of the course, `closed_sections` the Ids of
    its sections that are switched off. The source does not promise one completion per lesson
    (contract, section 8): a lesson counts from its first.
    """
    if not completions:
        return []
    by_lesson: dict[int, CompletedLesson] = {}
    for done in sorted(completions, key=lambda done: (done.created_at, done.record_id)):
        by_lesson.setdefault(done.lesson_id, done)
    earliest = list(by_lesson.values())
    course_id, coworker_id = enrolment.course_id, enrolment.coworker_id
    whose = (course_id, coworker_id, enrolment.record_id)
    started = Event(
        EventKind.COURSE_STARTED,
        course_started_key(course_id, coworker_id),
        earliest[0].created_at,
        *whose,
        earliest[0].lesson_id,
    )
    found = [started]
    for done in earliest:
        key = lesson_completed_key(enrolment.record_id, done.lesson_id)
        found.append(
            Event(EventKind.LESSON_COMPLETED, key, done.created_at, *whose, done.lesson_id)
        )
    if progress(lessons, by_lesson.keys(), counts, closed_sections).finished:
        counting = counting_lessons(lessons, counts, closed_sections)
        counting_ids = {lesson.record_id for lesson in counting}
        last = [done for done in earliest if done.lesson_id in counting_ids][-1]
        key = course_completed_key(course_id, coworker_id)
        found.append(
            Event(EventKind.COURSE_COMPLETED, key, last.created_at, *whose, last.lesson_id)
        )
    return found
