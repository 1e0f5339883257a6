"""Events with their permanent keys, and how far clocks may differ.

Several hosts need clocks that agree. `TOLERANCE` is how far apart they may be before one host
treats a live lease of another as left over from a clock that was ahead. Even then nothing is
performed twice, as a lease is settled by its token.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from schemas.entity import Entity

TOLERANCE = timedelta(minutes=5)


def is_ahead(moment: datetime, now: datetime) -> bool:
    """Return whether a time that should be past is further in the future than clocks may differ."""
    return moment > now + TOLERANCE


def is_within(moment: datetime, now: datetime, length: timedelta) -> bool:
    """Return whether a past time is less than `length` ago; one far in the future is not."""
    return not is_ahead(moment, now) and now - moment < length


class EventKind(StrEnum):
    """A kind of event. Rules name these."""

    ENROLLED = "enrolled"
    ENROLMENT_REQUESTED = "enrolment_requested"
    COURSE_STARTED = "course_started"
    LESSON_COMPLETED = "lesson_completed"
    COURSE_COMPLETED = "course_completed"
    UNENROLLED = "unenrolled"
    LESSON_REOPENED = "lesson_reopened"
    ENROLMENT_APPROVED = "enrolment_approved"
    ENROLMENT_BLOCKED = "enrolment_blocked"
    ENROLMENT_UNBLOCKED = "enrolment_unblocked"
    NOT_STARTED = "not_started"
    STALLED = "stalled"
    LESSON_AVAILABLE = "lesson_available"


# Events whose record no longer exists; rules cannot name these.
ABOUT_GONE = frozenset({EventKind.UNENROLLED, EventKind.LESSON_REOPENED})


# Events that hold only while their lesson is finished.
ABOUT_LESSONS = frozenset(
    {EventKind.LESSON_COMPLETED, EventKind.COURSE_COMPLETED, EventKind.COURSE_STARTED}
)
# Events that happen once to a person in a course, or once to an enrolment that asks to join.
ONCE = frozenset(
    {
        EventKind.ENROLLED,
        EventKind.ENROLMENT_REQUESTED,
        EventKind.COURSE_STARTED,
        EventKind.COURSE_COMPLETED,
    }
)
# Events that something did not happen, each after one or several lengths of time (steps).
ABSENCES = frozenset({EventKind.NOT_STARTED, EventKind.STALLED})
# Events that no change at the source shows: they happen when a timer is due.
TIMED = ABSENCES | {EventKind.LESSON_AVAILABLE}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `key` is the same however and however often it is found.

    `happened_at` is the source's time of it, aware UTC; a delete has none, so there it is when it
    was found. The ledger keeps no time later than when it was found: see `not_ahead`. `record` is
    the record that shows it, by kind and Id. `step_s` is how long an absence lasted, in seconds.
    """

    kind: EventKind
    key: str
    happened_at: datetime
    course_id: int
    coworker_id: int
    course_member_id: int
    lesson_id: int | None = None
    record: tuple[Entity, int] | None = field(default=None, compare=False)
    step_s: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Timer:
    """An event to come: it happens at `due_at` unless something happens before.

    `key` is the event's. `step_s` is the length of an absence, in seconds; None for others.
    """

    kind: EventKind
    key: str
    due_at: datetime
    course_id: int
    coworker_id: int
    course_member_id: int
    lesson_id: int | None = None
    step_s: int | None = None


def not_ahead(event: Event, found_at: datetime) -> Event:
    """Return the event; one that the source dates in the future happened when it was found."""
    return replace(event, happened_at=min(event.happened_at, found_at))


def enrolled_key(course_id: int, coworker_id: int) -> str:
    """Once per course and person, however often they re-enrol."""
    return f"{EventKind.ENROLLED}:{course_id}:{coworker_id}"


def enrolment_requested_key(course_member_id: int) -> str:
    """Once per enrolment record."""
    return f"{EventKind.ENROLMENT_REQUESTED}:{course_member_id}"


def course_started_key(course_id: int, coworker_id: int) -> str:
    """Once per course and person."""
    return f"{EventKind.COURSE_STARTED}:{course_id}:{coworker_id}"


def lesson_completed_key(course_member_id: int, lesson_id: int) -> str:
    """Once per enrolment and lesson: a re-completion has a new record Id (contract, section 8)."""
    return f"{EventKind.LESSON_COMPLETED}:{course_member_id}:{lesson_id}"


def course_completed_key(course_id: int, coworker_id: int) -> str:
    """Once ever per course and person, even if lessons are added or un-done later."""
    return f"{EventKind.COURSE_COMPLETED}:{course_id}:{coworker_id}"


def unenrolled_key(course_member_id: int) -> str:
    """Once per enrolment record."""
    return f"{EventKind.UNENROLLED}:{course_member_id}"


def lesson_reopened_key(completed_lesson_id: int) -> str:
    """Once per record of a completed lesson."""
    return f"{EventKind.LESSON_REOPENED}:{completed_lesson_id}"


def enrolment_changed_key(kind: EventKind, course_member_id: int, changed_at: datetime) -> str:
    """Once per change of an enrolment record: approved, blocked or unblocked."""
    return f"{kind}:{course_member_id}:{int(changed_at.timestamp())}"


def absence_key(kind: EventKind, course_member_id: int, step_s: int) -> str:
    """Once per enrolment record and step."""
    return f"{kind}:{course_member_id}:{step_s}"


def step_in(key: str) -> int:
    """Return how long the absence lasted, in seconds, from the key of its event."""
    return int(key.rpartition(":")[2])


def lesson_available_key(course_member_id: int, lesson_id: int) -> str:
    """Once per enrolment record and lesson."""
    return f"{EventKind.LESSON_AVAILABLE}:{course_member_id}:{lesson_id}"
