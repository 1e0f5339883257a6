"""What an email to someone else says about a member: one sentence for each event.

Such an email is a notice, to the host of a course or to an address of the space.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.events import EventKind
from workers.actions.email.phrases import Foreign, Phrase, Writer

_Names = Mapping[str, Foreign]  # of the member and of the course


@dataclass(frozen=True, slots=True)
class Notice:
    """Which member an email to someone else is about, and what happened to them.

    `to_host`: it is to the host of the course, else to a fixed address.
    """

    member: str
    event: EventKind
    to_host: bool


_HAPPENED: Mapping[EventKind, Callable[[Writer, _Names], Phrase]] = {
    EventKind.ENROLLED: lambda write, names: write.phrase(
        "{member} has a place on {course}", **names
    ),
    EventKind.ENROLMENT_REQUESTED: lambda write, names: write.phrase(
        "{member} is waiting for a place on {course}", **names
    ),
    EventKind.ENROLMENT_APPROVED: lambda write, names: write.phrase(
        "{member} was approved for {course}", **names
    ),
    EventKind.ENROLMENT_BLOCKED: lambda write, names: write.phrase(
        "{member} was blocked on {course}", **names
    ),
    EventKind.ENROLMENT_UNBLOCKED: lambda write, names: write.phrase(
        "{member} is no longer blocked on {course}", **names
    ),
    EventKind.COURSE_STARTED: lambda write, names: write.phrase(
        "{member} has started {course}", **names
    ),
    EventKind.COURSE_COMPLETED: lambda write, names: write.phrase(
        "{member} has finished {course}", **names
    ),
    EventKind.NOT_STARTED: lambda write, names: write.phrase(
        "{member} has not started {course}", **names
    ),
    EventKind.STALLED: lambda write, names: write.phrase(
        "{member} has not continued {course}", **names
    ),
    EventKind.LESSON_AVAILABLE: lambda write, names: write.phrase(
        "A lesson of {course} is open for {member}", **names
    ),
}


def what_happened(notice: Notice, course: str, lessons: int, write: Writer) -> Phrase:
    """Return the sentence for the event of a notice; `lessons` is how many it is about."""
    names = {"member": Foreign(notice.member), "course": Foreign(course)}
    if notice.event is not EventKind.LESSON_COMPLETED:
        return _HAPPENED[notice.event](write, names)
    return write.plural(
        "{member} has finished {number} lesson of {course}",
        "{member} has finished {number} lessons of {course}",
        max(1, lessons),
        **names,
    )


def why_notified(notice: Notice, write: Writer) -> Phrase:
    """Return the sentence that says why this reader gets the email."""
    if notice.to_host:
        return write.phrase("You're getting this email because you are the host of this course.")
    return write.phrase(
        "You're getting this email because this address is set up to receive course updates."
    )
