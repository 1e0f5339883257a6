"""Timers of an enrolment: what has not happened yet, and what follows once their time has come.

A member who does nothing changes no record, so each such event is a timer with a due time. When it
is due, the enrolment is read again, and what is true then decides. Pure.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.entity import UnlockType
from schemas.events import (
    Event,
    EventKind,
    Timer,
    absence_key,
    lesson_available_key,
)
from schemas.reasons import Reason
from schemas.records import CompletedLesson, CourseMember, Lesson

# Who opened the course so lately is about to start, and is not reminded yet.
_LOOKED_LATELY = timedelta(days=5)


@dataclass(frozen=True, slots=True)
class Study:
    """What is true of an enrolment. `enrolled_at` is when the place was given.

    `closed_sections` are the Ids of sections that are switched off.
    """

    enrolment: CourseMember
    enrolled_at: datetime
    completions: Sequence[CompletedLesson]
    lessons: Sequence[Lesson]
    closed_sections: Collection[int]
    is_finished: bool

    @property
    def done(self) -> frozenset[int]:
        """The Ids of the lessons that are done."""
        return frozenset(one.lesson_id for one in self.completions)

    @property
    def last_active_at(self) -> datetime:
        """When the member last did anything here, or enrolled."""
        moments = [self.enrolled_at, *(one.created_at for one in self.completions)]
        if self.enrolment.last_access_at is not None:
            moments.append(self.enrolment.last_access_at)
        return max(moments)

    def opens_at(self, lesson_id: int | None) -> datetime | None:
        """Return when a timed lesson opens for this member; None if it is not such a lesson."""
        return next(
            (at for lesson, at in self.opening_lessons() if lesson.record_id == lesson_id), None
        )

    def opening_lessons(self) -> Iterator[tuple[Lesson, datetime]]:
        """Yield the lessons that open some days after the enrolment, and when."""
        for lesson in self.lessons:
            is_timed = lesson.unlock_type is UnlockType.TIMED and lesson.unlock_after_days
            is_open = lesson.active and lesson.section_id not in self.closed_sections
            if is_timed and is_open:
                yield lesson, self.enrolled_at + timedelta(days=lesson.unlock_after_days or 0)


def timers_of(study: Study, timed: Mapping[EventKind, Collection[int]]) -> list[Timer]:
    """Return the timers that this enrolment should have, for the events that rules wait for.

    `timed` has the lengths of absences in seconds by kind of event.
    """
    enrolment = study.enrolment
    if not enrolment.approved:
        return []
    found = []
    if not study.completions:
        for step_s in sorted(timed.get(EventKind.NOT_STARTED, ())):
            due_at = study.enrolled_at + timedelta(seconds=step_s)
            found.append(_absence(EventKind.NOT_STARTED, study, step_s, due_at))
    elif not study.is_finished:
        for step_s in sorted(timed.get(EventKind.STALLED, ())):
            due_at = study.last_active_at + timedelta(seconds=step_s)
            found.append(_absence(EventKind.STALLED, study, step_s, due_at))
    if EventKind.LESSON_AVAILABLE in timed:
        whose = (enrolment.course_id, enrolment.coworker_id, enrolment.record_id)
        for lesson, opens_at in study.opening_lessons():
            if lesson.record_id not in study.done:
                key = lesson_available_key(enrolment.record_id, lesson.record_id)
                kind = EventKind.LESSON_AVAILABLE
                found.append(Timer(kind, key, opens_at, *whose, lesson.record_id))
    return found


def _absence(kind: EventKind, study: Study, step_s: int, due_at: datetime) -> Timer:
    enrolment = study.enrolment
    whose = (enrolment.course_id, enrolment.coworker_id, enrolment.record_id)
    key = absence_key(kind, enrolment.record_id, step_s)
    return Timer(kind, key, due_at, *whose, step_s=step_s)


def judge(
    timer: Timer, study: Study, timed: Mapping[EventKind, Collection[int]], now: datetime
) -> Event | Timer | Reason:
    """Return what follows from a timer now.

    That is its event, if it is due and still true; the timer with its due time as it is now; or the
    reason why its event will not happen.
    """
    reason = _cancelled_by(timer, study, timed)
    if reason is not None:
        return reason
    due_at = _due_now(timer, study, now)
    if due_at > now:
        return replace(timer, due_at=due_at)
    return event_of(timer, due_at)


def event_of(timer: Timer, happened_at: datetime) -> Event:
    """Return the event that a timer is for."""
    whose = (timer.course_id, timer.coworker_id, timer.course_member_id)
    return Event(
        timer.kind, timer.key, happened_at, *whose, lesson_id=timer.lesson_id, step_s=timer.step_s
    )


def _cancelled_by(
    timer: Timer, study: Study, timed: Mapping[EventKind, Collection[int]]
) -> Reason | None:
    is_wanted = timer.kind in timed and timer.step_s in {None, *timed[timer.kind]}
    opens_at = study.opens_at(timer.lesson_id)
    objections = (
        (not is_wanted, Reason.KIND_OFF),
        (timer.kind is EventKind.NOT_STARTED and study.completions, Reason.ACTIVE_MEANWHILE),
        (timer.kind is EventKind.STALLED and study.is_finished, Reason.COMPLETED_MEANWHILE),
        (timer.lesson_id in study.done, Reason.ACTIVE_MEANWHILE),
        (timer.kind is EventKind.LESSON_AVAILABLE and opens_at is None, Reason.RECORD_GONE),
    )
    return next((reason for objects, reason in objections if objects), None)


def _due_now(timer: Timer, study: Study, now: datetime) -> datetime:
    """Return when the timer is due, as things are now; never earlier than before.

    While a member is blocked or not approved, it is put off.
    """
    due_at = timer.due_at
    if timer.kind is EventKind.STALLED:
        due_at = max(due_at, study.last_active_at + timedelta(seconds=timer.step_s or 0))
    elif timer.kind is EventKind.LESSON_AVAILABLE:
        due_at = max(due_at, study.opens_at(timer.lesson_id) or due_at)
    looked_at = study.enrolment.last_access_at
    if timer.kind is EventKind.NOT_STARTED and looked_at is not None:
        due_at = max(due_at, looked_at + _LOOKED_LATELY)
    is_kept_back = study.enrolment.blocked or not study.enrolment.approved
    return max(due_at, now + _LOOKED_LATELY) if is_kept_back and due_at <= now else due_at
