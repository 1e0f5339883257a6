"""Numbers: emails a day, when members study, and how far they are in each course.

Each picture is an answer of its own, and under it stands a table with the same numbers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http import HTTPStatus

from babel.dates import get_day_names
from flask import Response, request

from ledger.engine import Connection, reading
from ledger.members import names_of_members
from ledger.people import names_of
from service.desk.counting import WEEKS, Numbers
from service.desk.frame import HEADERS
from service.desk.pictures import PICTURES, Drawing, hour_name, week_of
from service.desk.visit import Visit
from workers.standing import CourseStanding, StandingAt

# Its style is inside, and it is only ever shown in an `img`, where nothing is loaded or run.
_PICTURE_HEADERS = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class IdleMember:
    """A member who stands at a lesson, and since when nothing happened."""

    coworker_id: int
    name: str = field(repr=False)
    since: str


@dataclass(frozen=True, slots=True)
class LessonLine:
    """One lesson before which members stand: how many, who the longest, and how many others."""

    title: str
    number: int
    members: tuple[IdleMember, ...]

    @property
    def others(self) -> int:
        """How many are not named."""
        return self.number - len(self.members)


def show(visit: Visit) -> Response:
    """Show the three pictures and their tables."""
    numbers = _numbers(visit)
    if numbers is None:
        return visit.again_page("counting.html")
    shown = Drawing(visit.language, numbers)
    return visit.page(
        "numbers.html",
        numbers=numbers,
        drawing=shown,
        weeks=WEEKS,
        week=week_of(visit.language.locale),
        hour_name=lambda hour: hour_name(visit.language, hour),
        busiest=_busiest(visit, numbers),
        most_stand=lambda one: most_stand(visit, one),
        emails_total=sum(map(sum, numbers.emails.values())),
    )


def show_course(visit: Visit, course_id: int) -> Response:
    """Show how far the members of a course are, and who stands where the longest."""
    numbers = _numbers(visit)
    if numbers is None:
        return visit.again_page("counting.html")
    found = numbers.course(course_id)
    if found is None:
        nobody = visit.language.say("Nobody is on this course, or there is no such course.")
        return visit.missing(nobody)
    with reading(visit.pages.engine) as connection:
        lines = list(_lines(visit, connection, found))
    return visit.page("course.html", numbers=numbers, found=found, lines=lines)


def picture(visit: Visit, name: str) -> Response:
    """Return one picture; `narrow` asks for the one of phones."""
    numbers = _numbers(visit)
    if numbers is None or name not in PICTURES:
        return visit.missing(visit.language.say("There is no such page."))
    is_narrow = request.args.get("narrow") == "1"
    shown = Drawing(visit.language, numbers)
    image = visit.pages.pictures.drawn(name, shown, is_narrow=is_narrow)
    return Response(image, HTTPStatus.OK, _PICTURE_HEADERS, mimetype="image/svg+xml")


def most_stand(visit: Visit, course: CourseStanding) -> str:
    """Return where most of those stand who have not finished; empty if all have."""
    place = max(course.lessons, key=lambda one: one.number, default=None)
    if place is None:
        return ""
    text = visit.language.say("{lesson}: {number}")
    return text.format(lesson=_title(visit, course, place), number=place.number)


def _numbers(visit: Visit) -> Numbers | None:
    visit.pages.rules.setup()  # they say which lessons count; without them there is another page
    return visit.pages.numbers.newest()


def _busiest(visit: Visit, numbers: Numbers) -> tuple[str, int, int] | None:
    """Return weekday, hour and number of the hour in which most lessons were finished."""
    if not numbers.hours:
        return None
    (day, hour), number = max(numbers.hours.items(), key=lambda item: (item[1], item[0]))
    return get_day_names(locale=visit.language.locale)[day], hour, number


def _lines(visit: Visit, connection: Connection, course: CourseStanding) -> Iterator[LessonLine]:
    named = {member.coworker_id for one in course.lessons for member in one.longest_idle}
    names = names_of(connection, named)
    names = names_of_members(connection, named - names.keys()) | names
    for one in course.lessons:
        members = tuple(
            IdleMember(
                member.coworker_id,
                names.get(member.coworker_id) or visit.member_name(member.coworker_id),
                visit.times.ago(member.last_active_at),
            )
            for member in one.longest_idle
        )
        yield LessonLine(_title(visit, course, one), one.number, members)


def _title(visit: Visit, course: CourseStanding, place: StandingAt) -> str:
    if place.title is not None:
        return place.title
    if course.total:
        return visit.language.say("No lesson is open to them")
    return visit.language.say("No lesson counts, or none is known")
