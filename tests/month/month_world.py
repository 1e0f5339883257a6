"""Who studies what in the month of the tests: people of many zones, courses of some lessons."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.month.month_study import Deed, a_month

BEGINS = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 30
HALF_WAY = BEGINS + timedelta(days=DAYS / 2)
SEED = 1

# Name, email and zone, as the source calls it and as the world does. So few, with two courses
# each, live through each of the eight stories once; more of them only take longer.
_PEOPLE = (
    ("Zoë 🎓 Brandt", "zoe@example.org", "W. Europe Standard Time", "Europe/Berlin"),
    ("ليلى حداد", "layla@example.org", "Arabian Standard Time", "Asia/Dubai"),
    ("Siobhán  O'Neill", "siobhan+bell@example.org", "Eastern Standard Time", "America/New_York"),
    ("佐藤 花", "hana@example.org", "Tokyo Standard Time", "Asia/Tokyo"),
)
_COURSES = {"Freelance Finance": 6, "Ceramics <Grundkurs> & Glasur": 5, "الخط العربي": 4}
_FIRST_PERSON_ID, _FIRST_COURSE_ID, _FIRST_LESSON_ID = 1_416_010_000, 1_416_020_000, 1_416_030_000
_LESSONS_APART = 100


def write_world(path: Path) -> None:
    """Write the seed file the stand-in begins with. Ids are in order of place."""
    people = [
        {"id": _FIRST_PERSON_ID + n, "name": name, "email": email, "time_zone": zone}
        for n, (name, email, zone, _) in enumerate(_PEOPLE)
    ]
    courses = [
        {
            "id": _FIRST_COURSE_ID + n,
            "title": title,
            "lessons": [
                {"id": lesson_id(n, k), "title": f"{title}: part {k + 1}"} for k in range(lessons)
            ],
        }
        for n, (title, lessons) in enumerate(_COURSES.items())
    ]
    world = {"people": people, "courses": courses, "first_new_id": 1_416_100_000}
    # JSON is YAML, but for emoji that are written as two halves.
    path.write_text(json.dumps(world, ensure_ascii=False), encoding="utf-8")


def person_id(person: int) -> int:
    """Return the Id of the coworker in that place."""
    return _FIRST_PERSON_ID + person


def course_id(course: int) -> int:
    """Return the Id of the course in that place."""
    return _FIRST_COURSE_ID + course


def lesson_id(course: int, lesson: int) -> int:
    """Return the Id of the lesson in that place of a course."""
    return _FIRST_LESSON_ID + _LESSONS_APART * course + lesson


def the_month(seed: int = SEED) -> tuple[Deed, ...]:
    """Return what happens in this world in a month."""
    zones = [ZoneInfo(zone) for *_, zone in _PEOPLE]
    return a_month(seed, people=zones, courses=list(_COURSES.values()), begins=BEGINS, days=DAYS)
