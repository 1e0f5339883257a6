"""The source's kinds of record that we know, their names in all spellings, and where they live."""

from enum import StrEnum


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
}

# Where one document says that a kind lies, against all others (contract, section 2.6).
OTHER_PATHS: dict[Entity, str] = {Entity.COWORKER: "sys/coworkers"}

# The kinds whose change is news; the others are only read.
FOLLOWED = (Entity.COURSE_MEMBER, Entity.COMPLETED_LESSON)


def followed_entity(name: str) -> Entity | None:
    """Return the followed entity of that name, in any case, singular or plural, or None."""
    wanted = name.strip().lower().replace("_", "").replace("-", "")
    for entity in FOLLOWED:
        if wanted in {entity.value.lower(), entity.value.lower() + "s"}:
            return entity
    return None
