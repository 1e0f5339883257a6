"""The pictures of the page of numbers, and what the tables under them have, in one language."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import time

from babel import Locale
from babel.dates import format_time, get_day_names

from schemas.text import cut_at_word, one_line
from service.desk.charts import Shape, chart_of, drawn
from service.desk.counting import Numbers
from service.desk.languages import UiLanguage
from service.desk.wording import email_title
from workers.standing import CourseStanding

MOST_KINDS = 5  # of emails by name; the others are together
MOST_COURSES = 25
_HOURS = range(24)
_WIDE, _NARROW = 960, 360
_UNDER_LEGEND = 32


@dataclass(frozen=True, slots=True)
class Drawing:
    """What the pictures and the tables under them show, in one language."""

    language: UiLanguage
    numbers: Numbers

    @property
    def kinds(self) -> list[tuple[str, Sequence[int]]]:
        """The emails of each day by what they are called, those most sent first."""
        named, other = list(self.numbers.emails.items()), []
        if len(named) > MOST_KINDS + 1 or "" in self.numbers.emails:
            named = [one for one in named if one[0]][:MOST_KINDS]
            known = {name for name, _ in named}
            other = [days for name, days in self.numbers.emails.items() if name not in known]
        found: list[tuple[str, Sequence[int]]] = [
            (email_title(self.language, name), days) for name, days in named
        ]
        if other:
            sums = [sum(day) for day in zip(*other, strict=True)]
            found.append((self.language.say("Other emails"), sums))
        return found

    @property
    def days(self) -> list[str]:
        """The days, as they are called."""
        return [self.language.day(day) for day in self.numbers.days]

    @property
    def courses(self) -> list[CourseStanding]:
        """The courses of the picture, those with most members first."""
        return sorted(self.numbers.courses, key=lambda one: -one.enrolled)[:MOST_COURSES]

    def courses_height(self, is_narrow: bool) -> int:  # noqa: FBT001 - called by a template
        """Return how high the picture of the courses is."""
        return (150 if is_narrow else 100) + 34 * len(self.courses)

    @property
    def most_courses(self) -> int:
        """How many courses the picture has at most."""
        return MOST_COURSES

    def lessons(self, day: int, hour: int) -> int:
        """Return how many lessons were finished in an hour of a weekday."""
        return self.numbers.hours.get((day, hour), 0)


def week_of(locale: Locale) -> list[tuple[int, str]]:
    """Return the weekdays, of which 0 is Monday, with their names, as a week begins there."""
    names = get_day_names("abbreviated", locale=locale)
    days = [(locale.first_week_day + number) % 7 for number in range(7)]
    return [(day, names[day]) for day in days]


def hour_name(language: UiLanguage, hour: int) -> str:
    """Return when an hour begins, such as `08:00`."""
    return format_time(time(hour), "short", locale=language.locale)


def emails_a_day(shown: Drawing, *, is_narrow: bool) -> bytes:
    """Draw how many emails were sent on each day, by kind."""
    every = 10 if is_narrow else 5
    labels = [shown.language.day(day, "{}") for day in shown.numbers.days]
    chart = chart_of(
        *(Shape.STACKED_BARS, "emails", shown.language.say("Emails a day")),
        width=_NARROW if is_narrow else _WIDE,
        height=340 if is_narrow else 360,
        x_labels=labels,
        x_labels_major=labels[::-every],
        show_minor_x_labels=False,
        margin_bottom=_UNDER_LEGEND,
        legend_at_bottom=True,
        legend_at_bottom_columns=1 if is_narrow else 3,
        show_y_guides=True,
        min_scale=1,
    )
    for name, days in shown.kinds:
        chart.add(name, list(days))
    return drawn(chart)


def study_hours(shown: Drawing, *, is_narrow: bool) -> bytes:
    """Draw a dot for each hour of the week, the larger the more lessons were finished in it."""
    week = week_of(shown.language.locale)
    chart = chart_of(
        *(Shape.DOTS, "hours", shown.language.say("When members finish lessons")),
        width=_NARROW if is_narrow else _WIDE,
        height=640 if is_narrow else 330,
        show_legend=False,
        one_colour=True,
    )
    if is_narrow:
        chart.x_labels = [name for _, name in week]
        for hour in _HOURS:
            chart.add(
                hour_name(shown.language, hour), [shown.lessons(day, hour) for day, _ in week]
            )
    else:
        chart.x_labels = [f"{hour}" for hour in _HOURS]
        for day, name in week:
            chart.add(name, [shown.lessons(day, hour) for hour in _HOURS])
    return drawn(chart)


def course_progress(shown: Drawing, *, is_narrow: bool) -> bytes:
    """Draw a bar for each course: who has finished it, is under way, or has not started."""
    say = shown.language.say
    courses = shown.courses[::-1]  # the first is drawn at the bottom
    chart = chart_of(
        *(Shape.LYING_BARS, "courses", say("Progress by course")),
        width=_NARROW if is_narrow else _WIDE,
        height=shown.courses_height(is_narrow),
        legend_at_bottom=True,
        legend_at_bottom_columns=1 if is_narrow else 3,
        margin_bottom=_UNDER_LEGEND,
        min_scale=1,
    )
    room = 18 if is_narrow else 40
    chart.x_labels = [cut_at_word(one_line(one.title), room) for one in courses]
    chart.add(say("Finished"), [one.finished for one in courses])
    chart.add(say("Under way"), [one.under_way for one in courses])
    chart.add(say("Not started"), [one.not_started for one in courses])
    return drawn(chart)


PICTURES: Mapping[str, Callable[..., bytes]] = {
    "emails": emails_a_day,
    "hours": study_hours,
    "courses": course_progress,
}


class KeptPictures:
    """Keeps the pictures of the numbers that were counted last, in each language. Safe to share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: Numbers | None = None
        self._drawn: dict[tuple[str, str, bool], bytes] = {}

    def drawn(self, name: str, shown: Drawing, *, is_narrow: bool) -> bytes:
        """Return the picture of this name in `PICTURES`, and draw it if it is not kept."""
        key = name, shown.language.code, is_narrow
        with self._lock:
            if self._numbers is not shown.numbers:
                self._numbers, self._drawn = shown.numbers, {}
            known = self._drawn
        if key not in known:
            known[key] = PICTURES[name](shown, is_narrow=is_narrow)
        return known[key]
