"""What the page of numbers shows: counted in the background, as it reads months of study."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from ledger.clock import Clock
from ledger.counts_over_time import QuarterCount, emails_by_quarter, lessons_by_quarter
from ledger.engine import Engine, reading
from service.desk.background import BackgroundLook
from service.desk.state import RulesNow
from workers.actions.email import KIND
from workers.standing import CourseStanding, course_standings

DAYS, WEEKS = 30, 12  # of emails, and of study
MOST_NAMED = 5  # members at each lesson
_KEPT_FOR = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Numbers:
    """What was counted `at` a time, by the days and hours of the space.

    `emails` has for each template, or "" for none, as many numbers as there are `days`. `hours` has
    the finished lessons by weekday, of which 0 is Monday, and hour.
    """

    at: datetime
    days: tuple[date, ...]
    emails: Mapping[str, tuple[int, ...]]
    hours: Mapping[tuple[int, int], int]
    courses: tuple[CourseStanding, ...]

    def course(self, course_id: int) -> CourseStanding | None:
        """Return one course; None if it has no members."""
        return next((one for one in self.courses if one.course_id == course_id), None)


def numbers_look(
    engine: Engine, clock: Clock, rules: RulesNow, zone: ZoneInfo
) -> BackgroundLook[Numbers]:
    """Return what counts again once an operator looks and the last count is ten minutes old."""

    def look(now: datetime) -> Numbers:
        counts = rules.setup().rules.counts
        today = now.astimezone(zone).date()
        days = tuple(today - timedelta(days=back) for back in reversed(range(DAYS)))
        with reading(engine) as connection:
            emails = emails_by_quarter(connection, KIND, _midnight(days[0], zone))
            begin = _midnight(today - timedelta(weeks=WEEKS, days=-1), zone)
            lessons = lessons_by_quarter(connection, begin)
            courses = course_standings(connection, counts, MOST_NAMED)
        return Numbers(
            now, days, by_day(emails, days, zone), by_hour(lessons, zone), tuple(courses)
        )

    return BackgroundLook(look, clock, _KEPT_FOR)


def by_day(
    counted: Iterable[QuarterCount], days: Iterable[date], zone: ZoneInfo
) -> dict[str, tuple[int, ...]]:
    """Return the numbers of each of these days in a zone, by what was counted, most first."""
    found: dict[str, Counter[date]] = defaultdict(Counter)
    for one in counted:
        found[one.what or ""][one.at.astimezone(zone).date()] += one.number
    ordered = sorted(found.items(), key=lambda item: (-item[1].total(), item[0]))
    days = list(days)
    return {what: tuple(number[day] for day in days) for what, number in ordered}


def by_hour(counted: Iterable[QuarterCount], zone: ZoneInfo) -> dict[tuple[int, int], int]:
    """Return the numbers by weekday and hour of a zone, as its clocks showed them."""
    found: Counter[tuple[int, int]] = Counter()
    for one in counted:
        at = one.at.astimezone(zone)
        found[at.weekday(), at.hour] += one.number
    return dict(found)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)
