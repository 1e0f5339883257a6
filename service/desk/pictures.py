"""Draws the pictures of the page of numbers as SVG, for light and dark, computers and phones.

Words and numbers are in the language of the operator. A browser shows them in an `img` and so runs
no script in them; the one that pygal writes is taken out all the same.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from importlib.resources import files
from typing import Any

import pygal
from babel import Locale
from babel.dates import format_date, format_time, get_day_names
from pygal.style import Style
from pygal.util import template

from schemas.text import cut_at_word, one_line
from service.desk.counting import Numbers
from service.desk.wording import email_title
from service.desk.languages import UiLanguage
from workers.standing import CourseStanding

# It adds a hook that finds its maps, which we do not use, and which makes Python warn of imports.
sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, pygal.PluginImportFixer)]

MOST_KINDS = 5  # of emails by name; the others are together
MOST_COURSES = 25
_HOURS = range(24)
_WIDE, _NARROW = 960, 360
# Each has a contrast of at least 3:1 with its background.
_LIGHT = ("#0B5C8A", "#B8560B", "#1E7D4F", "#7A4FB5", "#A11D5A", "#6B6459")
_DARK = ("#82C7F2", "#F0A35E", "#7FD6A0", "#CDB8F3", "#F29BC4", "#C9C2B4")
_FONT = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif"


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
        locale = self.language.locale
        return [format_date(day, "EEE d MMM", locale=locale) for day in self.numbers.days]

    @property
    def courses(self) -> list[CourseStanding]:
        """The courses of the picture, those with most members first."""
        return sorted(self.numbers.courses, key=lambda one: -one.enrolled)[:MOST_COURSES]

    def courses_height(self, is_narrow: bool) -> int:  # noqa: FBT001 - called by a template
        """Return how high the picture of the courses is."""
        return (140 if is_narrow else 90) + 34 * len(self.courses)

    @property
    def most_courses(self) -> int:
        """How many courses the picture has at most."""
        return MOST_COURSES

    def lessons(self, day: int, hour: int) -> int:
        """Return how many lessons were finished in an hour of a weekday."""
        return self.numbers.hours.get((day, hour), 0)


def drawing(language: UiLanguage, numbers: Numbers) -> Drawing:
    """Return these numbers in a language."""
    return Drawing(language, numbers)


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
    locale = shown.language.locale
    labels = [format_date(day, "d MMM", locale=locale) for day in shown.numbers.days]
    chart = _chart(
        *(pygal.StackedBar, "emails", shown.language.say("Emails a day")),
        width=_NARROW if is_narrow else _WIDE,
        height=340 if is_narrow else 360,
        x_labels=labels,
        x_labels_major=labels[::-every],
        show_minor_x_labels=False,
        legend_at_bottom=True,
        legend_at_bottom_columns=1 if is_narrow else 3,
        show_y_guides=True,
        min_scale=1,
    )
    for name, days in shown.kinds:
        chart.add(name, list(days))
    return _drawn(chart)


def study_hours(shown: Drawing, *, is_narrow: bool) -> bytes:
    """Draw a dot for each hour of the week, the larger the more lessons were finished in it."""
    week = week_of(shown.language.locale)
    chart = _chart(
        *(pygal.Dot, "hours", shown.language.say("When members finish lessons")),
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
    return _drawn(chart)


def course_progress(shown: Drawing, *, is_narrow: bool) -> bytes:
    """Draw a bar for each course: who has finished it, is under way, or has not started."""
    say = shown.language.say
    courses = shown.courses[::-1]  # the first is drawn at the bottom
    chart = _chart(
        *(pygal.HorizontalStackedBar, "courses", say("Progress by course")),
        width=_NARROW if is_narrow else _WIDE,
        height=shown.courses_height(is_narrow),
        legend_at_bottom=True,
        legend_at_bottom_columns=1 if is_narrow else 3,
        min_scale=1,
    )
    room = 18 if is_narrow else 40
    chart.x_labels = [cut_at_word(one_line(one.title), room) for one in courses]
    chart.add(say("Finished"), [one.finished for one in courses])
    chart.add(say("Under way"), [one.under_way for one in courses])
    chart.add(say("Not started"), [one.not_started for one in courses])
    return _drawn(chart)


PICTURES: Mapping[str, Callable[..., bytes]] = {
    "emails": emails_a_day,
    "hours": study_hours,
    "courses": course_progress,
}


def _style(background: str, text: str, line: str, colors: Sequence[str]) -> Style:
    sizes = dict.fromkeys(
        ("label_font_size", "major_label_font_size", "legend_font_size", "value_font_size"), 14
    )
    return Style(
        background=background,
        plot_background=background,
        foreground=text,
        foreground_strong=text,
        foreground_subtle=line,
        guide_stroke_color=line,
        major_guide_stroke_color=line,
        colors=tuple(colors),
        opacity=1,
        opacity_hover=1,
        transition="0s",
        font_family=_FONT,
        **sizes,
    )


def _chart(
    kind: type[Any],
    name: str,
    title: str,
    *,
    one_colour: bool = False,
    **options: Any,  # noqa: ANN401 - pygal's own options
) -> Any:  # noqa: ANN401 - pygal has no types
    light, dark = (colors[:1] * 24 if one_colour else colors for colors in (_LIGHT, _DARK))
    style = _style("#FFFFFF", "#1F1D1A", "#D8D4CB", light)
    at_night = _style("#1D1C19", "#F1EEE7", "#3B382F", dark)
    here = f"#chart-{name} "
    rules = template(
        (files(pygal) / "css" / "style.css").read_text(encoding="utf-8"),
        style=at_night,
        colors=at_night.get_colors(here, len(dark)),
        strokes="",
        id=here,
    )
    css = ("file://style.css", "file://graph.css")
    chart = kind(
        style=style,
        css=(*css, f"inline:@media (prefers-color-scheme: dark) {{ {rules} }}"),
        js=(),
        truncate_label=-1,
        truncate_legend=-1,
        value_formatter=lambda value: f"{value:.0f}",
        explicit_size=True,
        **options,
    )
    chart.uuid = name
    chart.title = None
    chart.add_xml_filter(lambda root: _plain(root, title))
    return chart


def _plain(root: Any, title: str) -> Any:  # noqa: ANN401 - an element tree
    """Return the picture with its title, without script and without what only scripts show."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {"script", "desc"} or child.get("class") == "tooltip":
                parent.remove(child)
        if parent.tag == "title" and parent in list(root):
            parent.text = title
    return root


def _drawn(chart: Any) -> bytes:  # noqa: ANN401 - pygal has no types
    return bytes(chart.render())
