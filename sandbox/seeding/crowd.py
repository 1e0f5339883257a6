"""Many people at once, the same for the same random seed: for benchmarks and full pages. Pure."""

import random
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from sandbox.people import Person
from sandbox.world import CompletionPlan, CoursePlan, EnrolmentPlan, LessonPlan, PersonPlan, World

# Apart from all other Ids, so that a crowd can be added to any world.
FIRST_PERSON_ID = 1_450_000_000
FIRST_COURSE_ID = 1_451_000_000
FIRST_LESSON_ID = 1_452_000_000
FIRST_ENROLMENT_ID = 1_460_000_000
FIRST_COMPLETION_ID = 1_470_000_000
_LESSONS_APART = 1_000
_FIRST_NAMES = ("Ana", "Bilal", "Chloé", "Dov", "Elif", "Femi", "Gül", "Hana", "Igor", "Jūratė")


def with_crowd(world: World, wanted: Mapping[str, int]) -> World:
    """Return the world with so many people, courses, enrolments and completions more.

    Raises:
        ValueError: they do not fit; the message says why.
    """
    if wanted["enrolments"] > wanted["people"] * wanted["courses"]:
        raise ValueError("enrolments: There are more than people times courses.")
    if wanted["completions"] and not wanted["enrolments"]:
        raise ValueError("completions: There are no enrolments to have them.")
    chance = random.Random(wanted["random_seed"])  # noqa: S311 - chance, not secrecy
    home = world.places[0].id
    people = tuple(_person(n, home, chance) for n in range(wanted["people"]))
    courses = tuple(_course(n, home, wanted["lessons"]) for n in range(wanted["courses"]))
    enrolments = tuple(
        EnrolmentPlan(
            FIRST_ENROLMENT_ID + n,
            courses[(n // len(people) + n % len(people)) % len(courses)].id,
            people[n % len(people)].id,
            world.opened_at + timedelta(minutes=chance.randrange(60 * 24 * 30)),
        )
        for n in range(wanted["enrolments"])
    )
    completions = tuple(
        _completion(n, enrolments[n % len(enrolments)], n // len(enrolments), wanted["lessons"])
        for n in range(wanted["completions"])
    )
    largest = max([one.id for one in enrolments] + [one.id for one in completions], default=0)
    return replace(
        world,
        people=world.people + people,
        courses=world.courses + courses,
        enrolments=world.enrolments + enrolments,
        completions=world.completions + completions,
        first_new_id=max(world.first_new_id, largest + 1),
    )


def _person(n: int, home: int, chance: random.Random) -> PersonPlan:
    first_name = chance.choice(_FIRST_NAMES)
    person = Person(
        f"{first_name} Nr. {n + 1}", f"person{n + 1}@example.org", first_name=first_name
    )
    return PersonPlan(FIRST_PERSON_ID + n, person, home)


def _course(n: int, home: int, lessons: int) -> CoursePlan:
    first = FIRST_LESSON_ID + n * _LESSONS_APART
    plans = tuple(LessonPlan(first + k, f"Lesson {k + 1}") for k in range(lessons))
    return CoursePlan(FIRST_COURSE_ID + n, f"Course {n + 1}", home, plans, group="Crowd")


def _completion(n: int, enrolment: EnrolmentPlan, round_: int, lessons: int) -> CompletionPlan:
    course = enrolment.course_id - FIRST_COURSE_ID
    lesson_id = FIRST_LESSON_ID + course * _LESSONS_APART + round_ % lessons
    at = enrolment.at + timedelta(minutes=10 + 5 * round_)
    return CompletionPlan(FIRST_COMPLETION_ID + n, enrolment.id, lesson_id, at)
