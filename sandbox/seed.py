"""The world the sandbox begins with when no seed file says otherwise. Pure.

One course shows every way in which a lesson can count or not; the second has a title that breaks
pages and emails that do not escape; the third belongs to another location, in another time zone
and language, and has a section that was taken out.
"""

from datetime import UTC, datetime
from itertools import count

from sandbox.people import PEOPLE
from sandbox.places import MARSA, PLACES, WERKHOF
from sandbox.world import CoursePlan, LessonPlan, PersonPlan, SectionPlan, World
from schemas.vocabulary import CompletionType

# Just below the signed 32-bit limit, like those seen live (contract, section 2).
FIRST_COWORKER_ID = 1_416_010_000
FIRST_COURSE_ID = 1_416_020_000
FIRST_LESSON_ID = 1_416_030_000
FIRST_SECTION_ID = 1_416_040_000
FIRST_NEW_ID = 1_416_100_000
OPENED_AT = datetime(2026, 2, 2, 9, 0, 0, 123_456, tzinfo=UTC)

_BASICS, _PAID, _REED, _OLD = (FIRST_SECTION_ID + n for n in (0, 1, 10, 11))
_AT_HOME_IN_MARSA = frozenset({"ليلى حداد"})


def _lessons(first_id: int, *rows: tuple[str, CompletionType, int | None]) -> list[LessonPlan]:
    ids = count(first_id)
    return [LessonPlan(next(ids), title, how, section) for title, how, section in rows]


_FINANCE = CoursePlan(
    FIRST_COURSE_ID,
    "Freelance Finance",
    WERKHOF.id,
    # Six lessons: one is not tracked and one was taken out, so four count.
    (
        *_lessons(
            FIRST_LESSON_ID,
            ("What you keep", CompletionType.VISITED, _BASICS),
            ("Your day rate", CompletionType.BUTTON, _BASICS),
            ("Words to know", CompletionType.NONE, _BASICS),
            ("Invoices that get paid", CompletionType.VIDEO, _PAID),
            ("Quarterly returns", CompletionType.BUTTON, _PAID),
        ),
        LessonPlan(FIRST_LESSON_ID + 5, "Cash books (old)", section_id=_PAID, active=False),
    ),
    (SectionPlan(_BASICS, "The basics"), SectionPlan(_PAID, "Getting paid")),
    group="Business",
)
_CERAMICS = CoursePlan(
    FIRST_COURSE_ID + 1,
    "Ceramics: Feuer & Glasur <Grundkurs>",
    WERKHOF.id,
    tuple(
        LessonPlan(FIRST_LESSON_ID + 100 + n, title)
        for n, title in enumerate(("Ton & Drehscheibe", 'Der "erste" Brand', "Glasuren <mischen>"))
    ),
    group="Workshops",
)
_CALLIGRAPHY = CoursePlan(
    FIRST_COURSE_ID + 2,
    "الخط العربي للمبتدئين",
    MARSA.id,
    # Two lessons count; the third is active but lies in a section that was taken out.
    tuple(
        _lessons(
            FIRST_LESSON_ID + 200,
            ("القصبة والحبر", CompletionType.BUTTON, _REED),
            ("حروفك الأولى", CompletionType.BUTTON, _REED),
            ("معرض 2024", CompletionType.BUTTON, _OLD),
        )
    ),
    (SectionPlan(_REED, "البداية"), SectionPlan(_OLD, "أرشيف", active=False)),
    group="Workshops",
)

COURSES = (_FINANCE, _CERAMICS, _CALLIGRAPHY)
BUILT_IN = World(
    opened_at=OPENED_AT,
    places=PLACES,
    people=tuple(
        PersonPlan(
            FIRST_COWORKER_ID + n,
            person,
            MARSA.id if person.name in _AT_HOME_IN_MARSA else WERKHOF.id,
        )
        for n, person in enumerate(PEOPLE)
    ),
    courses=COURSES,
    first_new_id=FIRST_NEW_ID,
)
