"""Detects what happened, from a record, its version before and the rest of the enrolment.

Keys are permanent, so detecting an event again is harmless: the ledger keeps each once.
"""

from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from ledger.events import Suppression
from schemas.entity import CompletionType, Entity
from schemas.events import (
    Event,
    EventKind,
    course_completed_key,
    course_started_key,
    enrolled_key,
    enrolment_changed_key,
    enrolment_requested_key,
    lesson_completed_key,
    lesson_reopened_key,
    unenrolled_key,
)
from schemas.reasons import Reason
from schemas.records import CompletedLesson, CourseMember, Lesson
from workers.decide.completion import counting_lessons, progress


@dataclass(frozen=True, slots=True)
class EnrolmentRef:
    """The Ids of an enrolment, its course and its member."""

    course_member_id: int
    course_id: int
    coworker_id: int


def from_enrolment(before: CourseMember | None, now: CourseMember) -> list[Event]:
    """Return the events that an enrolment's record shows, compared with the version before.

    An enrolment that waited for approval counts from the change that approved it. A version that is
    older than the one before shows no change.
    """
    found = _changes(before, now)
    if now.blocked:
        return found
    waited = before is not None and not before.approved
    if now.approved:
        key = enrolled_key(now.course_id, now.coworker_id)
        at = now.updated_at if waited else now.created_at
        return [_of_enrolment(EventKind.ENROLLED, key, at, now), *found]
    key = enrolment_requested_key(now.record_id)
    return [_of_enrolment(EventKind.ENROLMENT_REQUESTED, key, now.created_at, now), *found]


def _changes(before: CourseMember | None, now: CourseMember) -> list[Event]:
    if before is None or now.updated_at < before.updated_at:
        return []
    kinds = []
    if now.approved and not before.approved:
        kinds.append(EventKind.ENROLMENT_APPROVED)
    if now.blocked != before.blocked:
        kinds.append(EventKind.ENROLMENT_BLOCKED if now.blocked else EventKind.ENROLMENT_UNBLOCKED)
    return [
        _of_enrolment(
            kind, enrolment_changed_key(kind, now.record_id, now.updated_at), now.updated_at, now
        )
        for kind in kinds
    ]


def _of_enrolment(kind: EventKind, key: str, at: datetime, enrolment: CourseMember) -> Event:
    whose = (enrolment.course_id, enrolment.coworker_id, enrolment.record_id)
    return Event(kind, key, at, *whose, record=(Entity.COURSE_MEMBER, enrolment.record_id))


def from_completions(
    enrolment: CourseMember,
    completions: Sequence[CompletedLesson],
    lessons: Sequence[Lesson],
    counts: Collection[CompletionType],
    closed_sections: Collection[int] = (),
) -> list[Event]:
    """Return the events that an enrolment's completed lessons show, the earliest first.

    `completions` are all of the enrolment, `lessons` all of the course, `closed_sections` the Ids
    of its sections that are switched off. The source does not promise one completion per lesson
    (contract, section 8), so a lesson counts from its first.
    """
    if not completions:
        return []
    by_lesson: dict[int, CompletedLesson] = {}
    for done in sorted(completions, key=lambda done: (done.created_at, done.record_id)):
        by_lesson.setdefault(done.lesson_id, done)
    earliest = list(by_lesson.values())
    course_id, coworker_id = enrolment.course_id, enrolment.coworker_id
    whose = (course_id, coworker_id, enrolment.record_id)

    def event(kind: EventKind, key: str, done: CompletedLesson) -> Event:
        shown_by = (Entity.COMPLETED_LESSON, done.record_id)
        return Event(kind, key, done.created_at, *whose, done.lesson_id, shown_by)

    found = [
        event(EventKind.COURSE_STARTED, course_started_key(course_id, coworker_id), earliest[0])
    ]
    for done in earliest:
        key = lesson_completed_key(enrolment.record_id, done.lesson_id)
        found.append(event(EventKind.LESSON_COMPLETED, key, done))
    if progress(lessons, by_lesson.keys(), counts, closed_sections).finished:
        counting = counting_lessons(lessons, counts, closed_sections)
        counting_ids = {lesson.record_id for lesson in counting}
        last = [done for done in earliest if done.lesson_id in counting_ids][-1]
        key = course_completed_key(course_id, coworker_id)
        found.append(event(EventKind.COURSE_COMPLETED, key, last))
    return found


def from_gone_enrolment(member: EnrolmentRef, found_at: datetime) -> Event:
    """Return the event of a deleted enrolment. Deletions have no time, so it happens when found."""
    key = unenrolled_key(member.course_member_id)
    whose = (member.course_id, member.coworker_id, member.course_member_id)
    shown_by = (Entity.COURSE_MEMBER, member.course_member_id)
    return Event(EventKind.UNENROLLED, key, found_at, *whose, record=shown_by)


def from_gone_completion(
    record_id: int, lesson_id: int | None, member: EnrolmentRef, found_at: datetime
) -> Event:
    """Return the event of a deleted completion: its lesson counts as not finished again."""
    key = lesson_reopened_key(record_id)
    whose = (member.course_id, member.coworker_id, member.course_member_id)
    shown_by = (Entity.COMPLETED_LESSON, record_id)
    return Event(EventKind.LESSON_REOPENED, key, found_at, *whose, lesson_id, shown_by)


@dataclass(frozen=True, slots=True)
class History:
    """What one decision knows of earlier ones. `kept` are events that led to no action, by key.

    Emails about records in `reviewed` are held for a person to look at; with `all_reviewed`, so are
    all emails that result from this lookup.
    """

    suppressed: Mapping[tuple[Entity, int], Suppression]
    asked: AbstractSet[tuple[Entity, int]]
    kept: Mapping[str, int]
    reviewed: AbstractSet[tuple[Entity, int]] = frozenset()
    all_reviewed: bool = False

    def suppressed_reason(self, event: Event) -> Reason | None:
        """Return why no email is sent about this event, if it is from before we started."""
        found = None if event.record is None else self.suppressed.get(event.record)
        return found.reason if found is not None and event.happened_at <= found.upto else None

    def is_asked_for(self, event: Event) -> bool:
        """Return whether an operator asked for it, so that its age does not matter."""
        return event.record in self.asked

    def held_for(self, event: Event) -> Reason | None:
        """Return why emails about this event are held as soon as planned, if they are."""
        is_reviewed = self.all_reviewed or event.record in self.reviewed
        return Reason.IMPORTED if is_reviewed else None

    def is_decided_again(self, event: Event) -> bool:
        """Return whether to decide again: it led to no action, and an operator asks now."""
        return event.key in self.kept and self.is_asked_for(event)
