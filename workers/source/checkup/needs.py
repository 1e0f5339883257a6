"""Which roles our user needs at the source, and what is lost without those it may lack. Pure.

A role is an entity's name with -List or -Read (contract, section 7).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.entity import Entity

LIST, READ = "List", "Read"


@dataclass(frozen=True, slots=True)
class Need:
    """The ways in which we ask for a kind of record. `without` None: we cannot do without."""

    entity: Entity
    ways: tuple[str, ...]
    without: str | None = None


NEEDS: tuple[Need, ...] = (
    Need(Entity.COURSE_MEMBER, (LIST, READ)),
    Need(Entity.COMPLETED_LESSON, (LIST, READ)),
    Need(Entity.LESSON, (LIST, READ)),
    Need(Entity.SECTION, (LIST, READ)),
    Need(Entity.COURSE, (LIST, READ)),
    Need(Entity.COWORKER, (READ,)),
    Need(Entity.BUSINESS, (READ,), "the language of a location stays unknown"),
    Need(Entity.USER, (READ,), "the language that somebody chose stays unknown"),
    Need(Entity.LANGUAGE, (READ,), "what a language is called stays unknown"),
    Need(Entity.TIME_ZONE, (LIST,), "the clock of COURSEBELL_ZONE is taken for everybody's"),
    Need(Entity.WEB_HOOK, (LIST, READ), "a webhook that Nexudus switched off goes unseen"),
)

# The fields by which one record names another, so that one can be read without a list.
NAMES_ANOTHER: Mapping[str, Entity] = {
    "CourseMemberId": Entity.COURSE_MEMBER,
    "CourseLessonId": Entity.LESSON,
    "CourseId": Entity.COURSE,
    "SectionId": Entity.SECTION,
    "CoworkerId": Entity.COWORKER,
    "BusinessId": Entity.BUSINESS,
    "InvoicingBusinessId": Entity.BUSINESS,
    "UserId": Entity.USER,
    "PreferredLanguageId": Entity.LANGUAGE,
    "SpaceWebsiteLanguageId": Entity.LANGUAGE,
}


def role(entity: Entity, way: str) -> str:
    """Return what the source calls the right to list or to read a kind of record."""
    return f"{entity}-{way}"
