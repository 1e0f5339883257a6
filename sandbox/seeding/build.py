"""Makes a world of what a seed file says, and finds what does not fit together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from sandbox.people import Person
from sandbox.places import Place
from sandbox.seed import (
    BUILT_IN,
    FIRST_COURSE_ID,
    FIRST_COWORKER_ID,
    FIRST_LESSON_ID,
    FIRST_NEW_ID,
    FIRST_SECTION_ID,
    OPENED_AT,
)
from sandbox.seeding.ids import ids_of, twins
from sandbox.world import (
    CompletionPlan,
    CoursePlan,
    EnrolmentPlan,
    LessonPlan,
    PersonPlan,
    SectionPlan,
    World,
)
from schemas.vocabulary import CompletionType, CoworkerKind

_FIRST_PLACE_ID = 1_416_000_011
_FIRST_ENROLMENT_ID = 1_416_060_000
_FIRST_COMPLETION_ID = 1_416_070_000

Entry = Mapping[str, Any]


@dataclass(slots=True)
class Building:
    """A world that is being made, and the mistakes found on the way, each with its place."""

    said: Entry
    mistakes: list[str] = field(default_factory=list)
    _numbers: dict[str, "count[int]"] = field(
        default_factory=lambda: {
            "locations": count(_FIRST_PLACE_ID),
            "people": count(FIRST_COWORKER_ID),
            "courses": count(FIRST_COURSE_ID),
            "sections": count(FIRST_SECTION_ID),
            "lessons": count(FIRST_LESSON_ID),
            "enrolments": count(_FIRST_ENROLMENT_ID),
            "completions": count(_FIRST_COMPLETION_ID),
        }
    )

    def world(self) -> World:
        """Return the world; where there are mistakes it is not to be used."""
        places = self._places() if "locations" in self.said else BUILT_IN.places
        people = self._people(places) if "people" in self.said else BUILT_IN.people
        courses = self._courses(places) if "courses" in self.said else BUILT_IN.courses
        if not places:
            self.mistakes.append("locations: At least one is needed.")
        enrolments = self._enrolments(people, courses)
        completions = self._completions(enrolments, courses)
        world = World(OPENED_AT, places, people, courses, enrolments, completions)
        self.mistakes += twins(world)
        largest = max((one for ids in ids_of(world).values() for one in ids), default=0)
        first_new_id = self.said["first_new_id"] or max(FIRST_NEW_ID, largest + 1)
        studies = [one.id for one in enrolments] + [one.id for one in completions]
        if first_new_id <= max(studies, default=0):
            self.mistakes.append("first_new_id: Must be above every Id of the file.")
        return World(OPENED_AT, places, people, courses, enrolments, completions, first_new_id)

    def _places(self) -> tuple[Place, ...]:
        made: list[Place] = []
        for where, one in self._entries("locations"):
            parent = self._find(f"{where}.parent", one["parent"], made, lambda place: place.name)
            made.append(
                Place(
                    self._id("locations", one),
                    one["name"],
                    one["time_zone"],
                    one["language"],
                    one["web_address"],
                    root_id=parent,
                )
            )
        return tuple(made)

    def _people(self, places: Sequence[Place]) -> tuple[PersonPlan, ...]:
        same = ("name", "email", "company", "teams", "first_name", "salutation", "active")
        return tuple(
            PersonPlan(
                self._id("people", one),
                Person(
                    **{name: one[name] for name in (*same, "archived", "language")},
                    kind=CoworkerKind[one["kind"].upper()],
                    has_account=one["account"],
                    zone=one["time_zone"],
                ),
                self._home(where, one, places),
            )
            for where, one in self._entries("people")
        )

    def _courses(self, places: Sequence[Place]) -> tuple[CoursePlan, ...]:
        return tuple(self._course(where, one, places) for where, one in self._entries("courses"))

    def _course(self, where: str, one: Entry, places: Sequence[Place]) -> CoursePlan:
        sections = tuple(
            SectionPlan(self._id("sections", section), section["title"], section["active"])
            for section in one["sections"]
        )
        lessons = tuple(
            LessonPlan(
                self._id("lessons", lesson),
                lesson["title"],
                CompletionType[lesson["completion"].upper()],
                self._find(
                    f"{where}.lessons[{n}].section",
                    lesson["section"],
                    sections,
                    lambda section: section.title,
                ),
                lesson["active"],
            )
            for n, lesson in enumerate(one["lessons"])
        )
        home = self._home(where, one, places)
        course_id = self._id("courses", one)
        return CoursePlan(course_id, one["title"], home, lessons, sections, one["group"])

    def _enrolments(
        self, people: Sequence[PersonPlan], courses: Sequence[CoursePlan]
    ) -> tuple[EnrolmentPlan, ...]:
        return tuple(
            EnrolmentPlan(
                self._id("enrolments", one),
                self._find(f"{where}.course", one["course"], courses, lambda c: c.title) or 0,
                self._find(f"{where}.person", one["person"], people, lambda p: p.person.name) or 0,
                one["at"] or OPENED_AT,
                one["approved"],
                one["blocked"],
            )
            for where, one in self._entries("enrolments")
        )

    def _completions(
        self, enrolments: Sequence[EnrolmentPlan], courses: Sequence[CoursePlan]
    ) -> tuple[CompletionPlan, ...]:
        lessons_of = {course.id: course.lessons for course in courses}
        known = {one.id: one for one in enrolments}
        made = []
        for where, one in self._entries("completions"):
            enrolment = known.get(one["enrolment"])
            if enrolment is None:
                self.mistakes.append(f"{where}.enrolment: There is no {one['enrolment']} here.")
                continue
            there = lessons_of.get(enrolment.course_id, ())
            lesson_id = self._find(f"{where}.lesson", one["lesson"], there, lambda x: x.title)
            number = self._id("completions", one)
            made.append(
                CompletionPlan(number, enrolment.id, lesson_id or 0, one["at"] or enrolment.at)
            )
        return tuple(made)

    def _entries(self, name: str) -> Iterable[tuple[str, Entry]]:
        return ((f"{name}[{n}]", one) for n, one in enumerate(self.said[name]))

    def _id(self, kind: str, one: Entry) -> int:
        following = next(self._numbers[kind])
        return int(one["id"]) if one["id"] is not None else following

    def _home(self, where: str, one: Entry, places: Sequence[Place]) -> int:
        if one["location"] is None:
            return places[0].id if places else 0
        return self._find(f"{where}.location", one["location"], places, lambda p: p.name) or 0

    def _find(
        self, where: str, wanted: object, there: Sequence[Any], name: Callable[[Any], str]
    ) -> int | None:
        if wanted is None:
            return None
        for one in there:
            if wanted in {one.id, name(one)}:
                return int(one.id)
        self.mistakes.append(f"{where}: There is no {wanted!r} here.")
        return None
