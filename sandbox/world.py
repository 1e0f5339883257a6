"""What a world of the sandbox begins with, before it is written out as records. Pure.

The built-in one is in `seed`, others come from a seed file; `tables` makes records of either.
"""

from dataclasses import dataclass
from datetime import datetime

from sandbox.people import Person
from sandbox.places import Place
from schemas.vocabulary import CompletionType


@dataclass(frozen=True, slots=True)
class SectionPlan:
    """A section; its place in the course is its place in the list."""

    id: int
    title: str
    active: bool = True


@dataclass(frozen=True, slots=True)
class LessonPlan:
    """A lesson; its place in the course is its place in the list."""

    id: int
    title: str
    completion: CompletionType = CompletionType.BUTTON
    section_id: int | None = None
    active: bool = True


@dataclass(frozen=True, slots=True)
class CoursePlan:
    """A course of one location."""

    id: int
    title: str
    place_id: int
    lessons: tuple[LessonPlan, ...] = ()
    sections: tuple[SectionPlan, ...] = ()
    group: str | None = None


@dataclass(frozen=True, slots=True)
class PersonPlan:
    """A coworker and the location they are at home in."""

    id: int
    person: Person
    place_id: int


@dataclass(frozen=True, slots=True)
class EnrolmentPlan:
    """An enrolment that is there from the start."""

    id: int
    course_id: int
    person_id: int
    at: datetime
    approved: bool = True
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class CompletionPlan:
    """A completion that is there from the start."""

    id: int
    enrolment_id: int
    lesson_id: int
    at: datetime


@dataclass(frozen=True, slots=True)
class World:
    """Everything that is there from the start, and the first Id of what comes later."""

    opened_at: datetime
    places: tuple[Place, ...]
    people: tuple[PersonPlan, ...]
    courses: tuple[CoursePlan, ...]
    enrolments: tuple[EnrolmentPlan, ...] = ()
    completions: tuple[CompletionPlan, ...] = ()
    first_new_id: int = 1
