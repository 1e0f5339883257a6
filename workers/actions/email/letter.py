"""Composes the text of an email from facts and our templates, and nothing else.

A fact that is unknown is None, and the sentence that needs it is left out. A letter that lacks an
essential fact is not written.

The HTML is written by hand instead of with MJML: the short letters need 4 KB of markup, and MJML's
output has no language, headings or dark colours. Each template is a folder of four files; they
share the frame and style around the HTML.
"""

import hashlib
import re
import textwrap
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from schemas.entity import CompletionType
from schemas.errors import DeliveryRefused
from schemas.reasons import Reason
from schemas.text import around, cut_at_word, greeting_name, one_line
from workers.actions.email import TEMPLATES

_TEMPLATE_FOLDER = Path(__file__).parent / "templates"
_ABOUT_LESSONS = frozenset({"lesson-finished", "lesson-available"})
_FILES = ("subject.txt", "preview.txt", "body.txt", "body.html")
_SHARED = ("frame.html", "parts.html", "sign_off.txt")
_MAX_PREVIEW = 110  # characters; inboxes show fewer
_COLUMNS = 72
# `strftime` would use the machine's language.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
TEXT_LANGUAGE = "en"  # the templates' language, whatever the reader's
_RIGHT_TO_LEFT = frozenset({"ar", "he", "iw"})
_MOST_TITLES = 6  # in one list; if there are more, the first five are named
_MAX_SUMMARY = 240  # characters of the course's summary
_WEB_ADDRESS = re.compile(r"https?://[^\s\x00-\x20\x7f-\x9f<>\"]+", re.IGNORECASE)


class TemplateGap(DeliveryRefused):
    """A letter lacks an essential fact, or its template is broken; it is not written."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.TEMPLATE_ERROR)


@dataclass(frozen=True, slots=True)
class LessonLine:
    """One lesson that a letter is about."""

    title: str
    completion_type: CompletionType


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """Everything a letter may say. Texts are as the source has them; composing cleans them.

    `first_name` is the source's guess (GuessedFirstName). `lessons` are those this letter is about,
    in display order. `done` and `total` count lessons of the course; `started_on` and `finished_on`
    are days where the person is. `lesson_url` leads to `next_lesson`; in a welcome, to
    `first_lesson`. `language` is the reader's; texts exist in English only, so far.
    """

    template: str
    full_name: str
    first_name: str | None
    is_individual: bool
    course: str
    course_summary: str | None
    host: str | None
    space: str | None
    lessons: tuple[LessonLine, ...]
    done: int
    total: int
    first_lesson: str | None
    next_lesson: str | None
    started_on: date | None
    finished_on: date | None
    course_url: str | None
    lesson_url: str | None
    language: str = "en"


@dataclass(frozen=True, slots=True)
class Letter:
    """A letter ready to be addressed.

    `preview` is the line an inbox shows beside the subject. `wording` is a short digest of the
    template files used: it changes when, and only when, one of them does.
    """

    subject: str
    preview: str
    text: str
    html: str
    wording: str


class Letters:
    """The templates, read once and kept. Safe to share between threads."""

    def __init__(self, folder: Path = _TEMPLATE_FOLDER) -> None:
        self._folder = folder
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=select_autoescape(enabled_extensions=("html",), default=False),
            undefined=StrictUndefined,
            finalize=_refuse_none,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "around": around,
            "cut": cut_at_word,
            "day": _day,
            "stop": _stop,
        }

    def compose(self, facts: LetterFacts) -> Letter:
        """Return the letter for these facts; the same facts give the same letter.

        Raises:
            TemplateGap: there is no such template, an essential fact is missing, or the template
                uses something undefined.
        """
        if facts.template not in TEMPLATES:
            raise TemplateGap("there is no template of that name")
        known = _variables(facts)
        known["subject"] = self._line(facts.template, "subject.txt", known)
        known["preview"] = cut_at_word(
            self._line(facts.template, "preview.txt", known), _MAX_PREVIEW
        )
        return Letter(
            subject=known["subject"],
            preview=known["preview"],
            text=_wrapped(self._fill(facts.template, "body.txt", known)),
            html=self._fill(facts.template, "body.html", known).strip() + "\n",
            wording=self.wording(facts.template),
        )

    def wording(self, template: str) -> str:
        """Return the digest of the files that make up a template."""
        digest = hashlib.sha256()
        for name in (*(f"{template}/{file}" for file in _FILES), *_SHARED):
            body = (self._folder / name).read_bytes()
            digest.update(f"{name} {len(body)}\n".encode() + body)
        return digest.hexdigest()[:12]

    def _line(self, template: str, file: str, known: dict[str, Any]) -> str:
        return " ".join(self._fill(template, file, known).split())

    def _fill(self, template: str, file: str, known: dict[str, Any]) -> str:
        try:
            return self._environment.get_template(f"{template}/{file}").render(known)
        except TemplateError as error:
            raise TemplateGap(f"the template {template}/{file} has an error: {error}") from error


def _refuse_none(value: object) -> object:
    if value is None:
        raise TemplateGap("a template prints an undefined variable")
    return value


def _day(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _stop(title: str) -> str:
    """Return the full stop after a title that ends a sentence, unless the title ends with one."""
    return "" if title.endswith((".", "!", "?", "…")) else "."


def _wrapped(text: str) -> str:
    """Lay out plain text: blank lines separate paragraphs; list items and links start a line."""
    paragraphs = [p for p in re.split(r"\n\s*\n", text.strip()) if p.strip()]
    return "\n\n".join(map(_paragraph, paragraphs)) + "\n"


def _paragraph(text: str) -> str:
    lines: list[str] = []
    for line in (" ".join(line.split()) for line in text.splitlines()):
        if lines and not line.startswith(("- ", "http")):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(
        textwrap.fill(
            line,
            _COLUMNS,
            break_long_words=False,
            break_on_hyphens=False,
            subsequent_indent="  " if line.startswith("- ") else "",
        )
        for line in lines
    )


def _variables(facts: LetterFacts) -> dict[str, Any]:
    """Return the variables of every template, with all foreign text cleaned.

    Raises `TemplateGap` if the course or a lesson has no title, if a lesson letter has no lesson,
    or if a link is not a web address.
    """
    lessons = [_required(line.title, "a lesson's title") for line in facts.lessons]
    if facts.template in _ABOUT_LESSONS and not lessons:
        raise TemplateGap("the letter is about lessons and has none")
    shown = lessons if len(lessons) <= _MOST_TITLES else lessons[: _MOST_TITLES - 1]
    started_on, finished_on = facts.started_on, facts.finished_on
    if started_on and finished_on and started_on > finished_on:
        started_on = None  # enrolled again after finishing, so that day is misleading
    counted = 0 <= facts.done <= facts.total and facts.total > 0
    return {
        "lang": TEXT_LANGUAGE,
        "dir": direction(facts.language),
        "greeting_name": greeting_name(facts.first_name, facts.full_name)
        if facts.is_individual
        else None,
        "course": _required(facts.course, "the course's title"),
        "summary": cut_at_word(one_line(facts.course_summary), _MAX_SUMMARY) or None,
        "host": one_line(facts.host) or None,
        "space": one_line(facts.space) or None,
        "lessons": lessons,
        "shown": shown,
        "hidden": len(lessons) - len(shown),
        "only_visited": all(
            line.completion_type is CompletionType.VISITED for line in facts.lessons
        ),
        "done": facts.done if counted else None,
        "total": facts.total if counted else None,
        "first_lesson": one_line(facts.first_lesson) or None,
        "next_lesson": one_line(facts.next_lesson) or None,
        "started_on": started_on,
        "finished_on": finished_on,
        "course_url": _address(facts.course_url),
        "lesson_url": _address(facts.lesson_url),
    }


def direction(language: str) -> str:
    """Return the writing direction of a language code such as `he` or `ar-EG`: `rtl` or `ltr`."""
    primary = re.split("[-_]", language.strip().lower(), maxsplit=1)[0]
    return "rtl" if primary in _RIGHT_TO_LEFT else "ltr"


def _required(text: str, what: str) -> str:
    clean = one_line(text)
    if not clean:
        raise TemplateGap(f"{what} is empty")
    return clean


def _address(url: str | None) -> str | None:
    if not url:
        return None
    if not _WEB_ADDRESS.fullmatch(url):
        raise TemplateGap("a link is not a web address")
    return url
