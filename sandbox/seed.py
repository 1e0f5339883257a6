"""The courses of the sandbox and the Ids everything starts from. Pure.

One course shows every way in which a lesson can count or not; the other has a title that breaks
pages and emails that do not escape.
"""

from datetime import UTC, datetime
from itertools import count

from sandbox.people import PEOPLE, coworker
from sandbox.shapes import course, lesson
from sandbox.wire import Record
from schemas.entity import Entity
from schemas.vocabulary import CompletionType

# Just below the signed 32-bit limit, like those seen live (contract, section 2).
FIRST_COWORKER_ID = 1_416_010_000
FIRST_COURSE_ID = 1_416_020_000
FIRST_LESSON_ID = 1_416_030_000
FIRST_NEW_ID = 1_416_100_000

_OPENED = datetime(2026, 2, 2, 9, 0, 0, 123_456, tzinfo=UTC)

Tables = dict[Entity, dict[int, Record]]


def seeded_tables() -> Tables:
    """Return fresh tables: eight people, two courses, no enrolment."""
    people = [coworker(FIRST_COWORKER_ID + n, _OPENED, person) for n, person in enumerate(PEOPLE)]
    finance = course(FIRST_COURSE_ID, _OPENED, "Freelance Finance", group="Business", order=1)
    ceramics = course(
        FIRST_COURSE_ID + 1,
        _OPENED,
        "Ceramics: Feuer & Glasur <Grundkurs>",
        group="Workshops",
        order=2,
    )
    lessons = [*_finance_lessons(finance), *_ceramics_lessons(ceramics)]
    return {
        Entity.COWORKER: _by_id(people),
        Entity.COURSE: _by_id([finance, ceramics]),
        Entity.LESSON: _by_id(lessons),
        Entity.COURSE_MEMBER: {},
        Entity.COMPLETED_LESSON: {},
    }


def _by_id(records: list[Record]) -> dict[int, Record]:
    return {record["Id"]: record for record in records}


def _finance_lessons(finance: Record) -> list[Record]:
    # Five lessons of which four count, and one that was taken out.
    basics = (1_416_040_000, 1, "The basics")
    paid = (1_416_040_001, 2, "Getting paid")
    rows = (
        ("What you keep", CompletionType.VISITED, basics, True),
        ("Your day rate", CompletionType.BUTTON, basics, True),
        ("Words to know", CompletionType.NONE, basics, True),
        ("Invoices that get paid", CompletionType.VIDEO, paid, True),
        ("Quarterly returns", CompletionType.BUTTON, paid, True),
        ("Cash books (old)", CompletionType.BUTTON, paid, False),
    )
    ids = count(FIRST_LESSON_ID)
    return [
        lesson(next(ids), _OPENED, finance, title, how, order=n, section=section, active=active)
        for n, (title, how, section, active) in enumerate(rows, start=1)
    ]


def _ceramics_lessons(ceramics: Record) -> list[Record]:
    titles = ("Ton & Drehscheibe", 'Der "erste" Brand', "Glasuren <mischen>")
    ids = count(FIRST_LESSON_ID + 100)
    return [
        lesson(next(ids), _OPENED, ceramics, title, CompletionType.BUTTON, order=n)
        for n, title in enumerate(titles, start=1)
    ]
