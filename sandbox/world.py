"""The world a sandbox starts with: the built-in one of `world.yaml`, changed by a seed file.

An entry of a file names other entries by Id, name or title. Reading replaces these by Ids, gives an
Id to every entry without one, and reports every mistake with its place in the file.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from marshmallow import ValidationError

from sandbox.records import Entry
from sandbox.seed_schema import LESSON_SCHEMA, PERSON_SCHEMA, SEED_SCHEMA

# Just below the signed 32-bit limit, like those seen live (contract, section 2).
FIRST_IDS = {
    "locations": 1_416_000_011,
    "people": 1_416_010_000,
    "courses": 1_416_020_000,
    "lessons": 1_416_030_000,
    "sections": 1_416_040_000,
    "enrolments": 1_416_060_000,
    "completions": 1_416_070_000,
}
_FIRST_NEW_ID = 1_416_100_000
OPENED_AT = datetime(2026, 2, 2, 9, 0, 0, 123_456, tzinfo=UTC)

# The crowd has Ids of its own, so that it can be added to any world.
CROWD_PERSON_ID = 1_450_000_000
CROWD_COURSE_ID = 1_451_000_000
CROWD_LESSON_ID = 1_452_000_000
CROWD_ENROLMENT_ID = 1_460_000_000
CROWD_COMPLETION_ID = 1_470_000_000
_LESSONS_APART = 1_000
_FIRST_NAMES = ("Ana", "Bilal", "Chloé", "Dov", "Elif", "Femi", "Gül", "Hana", "Igor", "Jūratė")


class InvalidSeed(Exception):
    """The seed file cannot be used; `mistakes` are sentences, each with its place."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("the seed file has mistakes")
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class World:
    """The entries that exist at the start, and the first Id of later records."""

    locations: tuple[Entry, ...]
    people: tuple[Entry, ...]
    courses: tuple[Entry, ...]
    enrolments: tuple[Entry, ...] = ()
    completions: tuple[Entry, ...] = ()
    first_new_id: int = _FIRST_NEW_ID
    opened_at: datetime = OPENED_AT


@dataclass(frozen=True, slots=True)
class Seed:
    """A world, and the misbehaviours that are on from the start, with their parameters."""

    world: World
    misbehaviours: tuple[tuple[str, Mapping[str, object]], ...] = ()


@cache
def built_in_world() -> World:
    """Return the world of a sandbox without a seed file."""
    return seed_of({}).world


def read_seed(path: Path) -> Seed:
    """Return the content of a seed file.

    Raises:
        InvalidSeed: the file cannot be read, or something in it is wrong.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InvalidSeed([f"The file cannot be read: {reason}."]) from error
    except yaml.YAMLError as error:
        raise InvalidSeed([f"The file is not YAML: {' '.join(str(error).split())}."]) from error
    return seed_of({} if content is None else content)


def seed_of(content: object) -> Seed:
    """Return the seed described by the content of a file; see `read_seed`."""
    if not isinstance(content, dict):
        raise InvalidSeed(["The file must be one object."])
    try:
        loaded: dict[str, Any] = SEED_SCHEMA().load({**_built_in_entries(), **content})
    except ValidationError as error:
        raise InvalidSeed(sorted(_sentences("", error.messages))) from None
    reading = _Reading()
    world = reading.world(loaded)
    if not reading.mistakes and "crowd" in loaded:
        try:
            world = with_crowd(world, loaded["crowd"])
        except ValueError as error:
            reading.mistakes.append(f"crowd.{error}")
    if reading.mistakes:
        raise InvalidSeed(reading.mistakes)
    misbehaviours = [*loaded["misbehaviours"]]
    if loaded["quota"] is not None:
        misbehaviours.append(("quota", loaded["quota"]))
    return Seed(world, tuple(misbehaviours))


def with_crowd(world: World, wanted: Mapping[str, int]) -> World:
    """Return the world with many more people, the same for the same random seed.

    Raises:
        ValueError: the numbers do not fit each other.
    """
    if wanted["enrolments"] > wanted["people"] * wanted["courses"]:
        raise ValueError("enrolments: There are more than people times courses.")
    if wanted["completions"] and not wanted["enrolments"]:
        raise ValueError("completions: There are no enrolments to have them.")
    chance = random.Random(wanted["random_seed"])  # noqa: S311 - test records, no secrets
    home, lessons = world.locations[0]["id"], wanted["lessons"]
    people = tuple(_crowd_person(n, home, chance) for n in range(wanted["people"]))
    courses = tuple(_crowd_course(n, home, lessons) for n in range(wanted["courses"]))
    enrolments = tuple(
        {
            "id": CROWD_ENROLMENT_ID + n,
            "course": courses[(n // len(people) + n % len(people)) % len(courses)]["id"],
            "person": people[n % len(people)]["id"],
            "at": world.opened_at + timedelta(minutes=chance.randrange(60 * 24 * 30)),
            "approved": True,
            "blocked": False,
        }
        for n in range(wanted["enrolments"])
    )
    completions = tuple(
        _crowd_completion(n, enrolments[n % len(enrolments)], n // len(enrolments), lessons)
        for n in range(wanted["completions"])
    )
    largest = max((one["id"] for one in (*enrolments, *completions)), default=0)
    return replace(
        world,
        people=world.people + people,
        courses=world.courses + courses,
        enrolments=world.enrolments + enrolments,
        completions=world.completions + completions,
        first_new_id=max(world.first_new_id, largest + 1),
    )


def _crowd_person(n: int, home: int, chance: random.Random) -> Entry:
    first_name = chance.choice(_FIRST_NAMES)
    return {
        **_default_entries()["person"],
        "id": CROWD_PERSON_ID + n,
        "name": f"{first_name} Nr. {n + 1}",
        "email": f"person{n + 1}@example.org",
        "first_name": first_name,
        "location": home,
    }


def _crowd_course(n: int, home: int, lessons: int) -> Entry:
    first, lesson = CROWD_LESSON_ID + n * _LESSONS_APART, _default_entries()["lesson"]
    return {
        "id": CROWD_COURSE_ID + n,
        "title": f"Course {n + 1}",
        "location": home,
        "group": "Crowd",
        "sections": [],
        "lessons": [
            {**lesson, "id": first + k, "title": f"Lesson {k + 1}"} for k in range(lessons)
        ],
    }


def _crowd_completion(n: int, enrolment: Entry, turn: int, lessons: int) -> Entry:
    first = CROWD_LESSON_ID + (enrolment["course"] - CROWD_COURSE_ID) * _LESSONS_APART
    at = enrolment["at"] + timedelta(minutes=10 + 5 * turn)
    number, lesson = CROWD_COMPLETION_ID + n, first + turn % lessons
    return {"id": number, "enrolment": enrolment["id"], "lesson": lesson, "at": at}


class _Reading:
    """Turns the loaded entries of a file into a world, and collects mistakes on the way."""

    def __init__(self) -> None:
        self.mistakes: list[str] = []
        self._following = {kind: count(first) for kind, first in FIRST_IDS.items()}
        self._ids: dict[str, list[int]] = {kind: [] for kind in FIRST_IDS}

    def world(self, loaded: Entry) -> World:
        """Return the world; do not use it if there are mistakes."""
        places = self._numbered("locations", loaded)
        for n, place in enumerate(places):
            place["parent"] = self._find(
                f"locations[{n}].parent", place["parent"], _known(places[:n], "name")
            )
        people = self._numbered("people", loaded)
        for n, person in enumerate(people):
            person["location"] = self._home(f"people[{n}]", person["location"], places)
        courses = self._numbered("courses", loaded)
        for n, course in enumerate(courses):
            self._read_course(f"courses[{n}]", course, places)
        enrolments = self._enrolments(loaded, people, courses)
        completions = self._completions(loaded, enrolments, courses)
        self.mistakes += [
            f"{kind}: The Id {one} stands here more than once."
            for kind, ids in self._ids.items()
            for one, times in Counter(ids).items()
            if times > 1
        ]
        largest = max(one for ids in self._ids.values() for one in ids)
        first_new_id = loaded["first_new_id"] or max(_FIRST_NEW_ID, largest + 1)
        if first_new_id <= max(self._ids["enrolments"] + self._ids["completions"], default=0):
            self.mistakes.append("first_new_id: Must be above every Id of the file.")
        return World(
            tuple(places),
            tuple(people),
            tuple(courses),
            tuple(enrolments),
            tuple(completions),
            first_new_id,
        )

    def _read_course(self, where: str, course: dict[str, Any], places: Sequence[Entry]) -> None:
        course["location"] = self._home(where, course["location"], places)
        course["sections"] = self._numbered("sections", course)
        course["lessons"] = self._numbered("lessons", course)
        sections = _known(course["sections"], "title")
        for k, lesson in enumerate(course["lessons"]):
            place = f"{where}.lessons[{k}].section"
            lesson["section"] = self._find(place, lesson["section"], sections)

    def _enrolments(
        self, loaded: Entry, people: Sequence[Entry], courses: Sequence[Entry]
    ) -> list[dict[str, Any]]:
        enrolments = self._numbered("enrolments", loaded)
        known_courses, present_people = _known(courses, "title"), _known(people, "name")
        for n, one in enumerate(enrolments):
            where = f"enrolments[{n}]"
            one["course"] = self._find(f"{where}.course", one["course"], known_courses)
            one["person"] = self._find(f"{where}.person", one["person"], present_people)
            one["at"] = one["at"] or OPENED_AT
        return enrolments

    def _completions(
        self, loaded: Entry, enrolments: Sequence[Entry], courses: Sequence[Entry]
    ) -> list[dict[str, Any]]:
        lessons_of = {course["id"]: _known(course["lessons"], "title") for course in courses}
        known = {one["id"]: one for one in enrolments}
        completions = self._numbered("completions", loaded)
        for n, one in enumerate(completions):
            where, enrolment = f"completions[{n}]", known.get(one["enrolment"])
            if enrolment is None:
                self.mistakes.append(f"{where}.enrolment: There is no {one['enrolment']} here.")
                continue
            lessons = lessons_of.get(enrolment["course"], {})
            one["lesson"] = self._find(f"{where}.lesson", one["lesson"], lessons)
            one["at"] = one["at"] or enrolment["at"]
        return completions

    def _numbered(self, kind: str, within: Entry) -> list[dict[str, Any]]:
        entries = [
            {**one, "id": following if one["id"] is None else one["id"]}
            for one, following in zip(within[kind], self._following[kind], strict=False)
        ]
        self._ids[kind] += [one["id"] for one in entries]
        return entries

    def _home(self, where: str, wanted: object, places: Sequence[Entry]) -> int | None:
        if wanted is None:
            return int(places[0]["id"])
        return self._find(f"{where}.location", wanted, _known(places, "name"))

    def _find(self, where: str, wanted: object, known: Mapping[object, int]) -> int | None:
        if wanted is None or wanted in known:
            return None if wanted is None else known[wanted]
        self.mistakes.append(f"{where}: There is no {wanted!r} here.")
        return None


def _known(entries: Iterable[Entry], name: str) -> dict[object, int]:
    """Return the Ids by Id and by name; of two with the same name the first."""
    known: dict[object, int] = {}
    for one in entries:
        known[one["id"]] = one["id"]
        known.setdefault(one[name], one["id"])
    return known


def _sentences(where: str, messages: object) -> Iterator[str]:
    if isinstance(messages, dict):
        for key, below in messages.items():
            step = f"[{key}]" if isinstance(key, int) else f".{key}" if where else str(key)
            yield from _sentences(where if key == "_schema" else f"{where}{step}", below)
    elif isinstance(messages, list):
        for one in messages:
            yield from _sentences(where, one)
    else:
        yield f"{where}: {messages}"


@cache
def _built_in_entries() -> Mapping[str, Any]:
    path = Path(__file__).with_name("world.yaml")
    found: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@cache
def _default_entries() -> Mapping[str, Entry]:
    return {
        "person": PERSON_SCHEMA().load({"name": "-"}),
        "lesson": LESSON_SCHEMA().load({"title": "-"}),
    }
