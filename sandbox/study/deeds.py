"""What is done in a month of study, and when it may be done. Pure.

People, courses and lessons are named by their place (0 is the first): the Ids of records are known
only when the month is played.
"""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum

# Two things that nobody who looks every five minutes can know as well as who is told at once. So
# they do not occur in a month, and a month is the same for both.
SHORTEST_LIFE = timedelta(minutes=10)  # nothing that is made is deleted sooner
NO_DEEDS = (time(19, 45), time(20))  # where the person is: emails hurry out before quiet hours

# An email for a sitting goes 30 minutes after its last lesson. A lesson finished just then would
# be in it for who is told at once, and not for who looks later; so sittings are this far apart.
APART = timedelta(hours=1)
LONGEST_PAUSE = timedelta(minutes=15)  # between two deeds of one sitting


class DeedKind(StrEnum):
    """What somebody does."""

    ENROL = "enrol"
    REQUEST = "request"  # an enrolment that waits for approval
    APPROVE = "approve"
    FINISH_LESSON = "finish-lesson"
    FINISH_COURSE = "finish-course"  # all lessons that are left, at once
    DELETE_COMPLETION = "delete-completion"
    FINISH_AGAIN = "finish-again"  # a lesson whose completion was deleted
    DELETE_ENROLMENT = "delete-enrolment"  # its completions go with it
    ENROL_AGAIN = "enrol-again"
    BLOCK = "block"
    UNBLOCK = "unblock"


# What the staff do, not the person.
OF_STAFF = frozenset(
    {
        *(DeedKind.APPROVE, DeedKind.DELETE_COMPLETION, DeedKind.DELETE_ENROLMENT),
        *(DeedKind.BLOCK, DeedKind.UNBLOCK),
    }
)


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing done, at an aware moment. `lesson` is its place among those that count."""

    at: datetime
    kind: DeedKind
    person: int
    course: int
    lesson: int | None = None
