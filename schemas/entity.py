"""The source's kinds of record, with names and paths, and its enumerations (contract, 2.1 to 2.6).

The actions of webhooks are in `schemas.records.answers`.
"""

from enum import Enum, IntEnum, StrEnum
from typing import NamedTuple, Self


class Entity(StrEnum):
    """A kind of record at the source. The value is the source's own name for it."""

    COURSE_MEMBER = "CourseMember"  # an enrolment
    COMPLETED_LESSON = "CourseCompletedLesson"  # one lesson finished by one enrolment
    LESSON = "CourseLesson"
    COURSE = "Course"
    COWORKER = "Coworker"
    SECTION = "CourseSection"
    BUSINESS = "Business"  # a location
    USER = "User"  # a coworker's account in the portal
    LANGUAGE = "Language"
    TIME_ZONE = "SimpleTimeZone"
    WEB_HOOK = "WebHook"
    MESSAGE = "CoworkerMessage"  # between Nexudus and one coworker


# Path below /api (contract, sections 2 and 3); that of time zones is not published and follows the
# pattern of the others.
PATHS: dict[Entity, str] = {
    Entity.COURSE_MEMBER: "content/coursemembers",
    Entity.COMPLETED_LESSON: "content/coursecompletedlessons",
    Entity.LESSON: "content/courselessons",
    Entity.COURSE: "content/courses",
    Entity.COWORKER: "spaces/coworkers",
    Entity.SECTION: "content/coursesections",
    Entity.BUSINESS: "sys/businesses",
    Entity.USER: "sys/users",
    Entity.LANGUAGE: "sys/languages",
    Entity.TIME_ZONE: "sys/simpletimezones",
    Entity.WEB_HOOK: "sys/webhooks",
    Entity.MESSAGE: "spaces/coworkermessages",
}

# Another path, which one document gives (contract, section 2.6).
OTHER_PATHS: dict[Entity, str] = {Entity.COWORKER: "sys/coworkers"}

# The kinds whose changes lead to events; the others are only read.
FOLLOWED = (Entity.COURSE_MEMBER, Entity.COMPLETED_LESSON)


def followed_entity(name: str) -> Entity | None:
    """Return the followed entity of that name, in any case, singular or plural, or None."""
    wanted = name.strip().lower().replace("_", "").replace("-", "")
    for entity in FOLLOWED:
        if wanted in {entity.value.lower(), entity.value.lower() + "s"}:
            return entity
    return None


class References(NamedTuple):
    """The Ids of what a record refers to; None where it is unknown or there is none."""

    course_id: int | None = None
    coworker_id: int | None = None
    course_member_id: int | None = None
    lesson_id: int | None = None

    @classmethod
    def of(cls, holder: object) -> Self:
        """Return the references of a record or row, taken from its attributes of these names."""
        return cls(
            getattr(holder, "course_id", None),
            getattr(holder, "coworker_id", None),
            getattr(holder, "course_member_id", None),
            getattr(holder, "lesson_id", None),
        )

    def contradict(self, others: "References") -> bool:
        """Return whether both have a value for some field, and the values differ."""
        return self != others and any(
            None not in pair and pair[0] != pair[1] for pair in zip(self, others, strict=True)
        )

    def or_else(self, others: "References") -> "References":
        """Return these references, completed from `others` where they are unknown."""
        pairs = zip(self, others, strict=True)
        return References(*(theirs if ours is None else ours for ours, theirs in pairs))


NO_REFERENCES = References()


class CoworkerKind(Enum):
    """Whether a customer is a person or a company. The source writes a word or a number."""

    INDIVIDUAL = 1
    COMPANY = 2


class CompletionType(IntEnum):
    """What makes the portal count a lesson as done."""

    NONE = 1  # not tracked: never completed
    VISITED = 2  # by opening the page
    BUTTON = 3
    VIDEO = 4


class UnlockType(IntEnum):
    """When a lesson or section opens."""

    IMMEDIATE = 1
    SEQUENTIAL = 2
    TIMED = 3


class Visibility(IntEnum):
    """Who sees a course."""

    PUBLIC = 1
    HIDDEN = 2
    PRIVATE = 3
    PAID = 4
