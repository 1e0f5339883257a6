"""Composes a letter from facts: our templates, filled in, and nothing else.

Hand-written frames instead of MJML: four short letters need 4 KB of markup, and MJML's output
has no language, no headings and no dark colours. Every template is a folder of four files; the
frame and the style around the HTML ones are shared.
"""

import hashlib
import re
import textwrap
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError, select_autoescape

from schemas.events import EventKind
from workers.actions.email.foreign_text import around, cut_at_word
from workers.actions.email.letter import Letter, LetterFacts, TemplateGap
from workers.actions.email.variables import variables

# The folders of `templates/`, each with the events it can be about. A test holds the names to the
# folders, so that nothing is read at import, and another writes every pair.
TEMPLATES: Mapping[str, frozenset[EventKind]] = {
    "welcome": frozenset({EventKind.ENROLLED}),
    "lesson-finished": frozenset(
        # Each of these events names a lesson that was finished.
        {EventKind.LESSON_COMPLETED, EventKind.COURSE_STARTED, EventKind.COURSE_COMPLETED}
    ),
    "course-finished": frozenset({EventKind.COURSE_COMPLETED}),
}

_SHOP = Path(__file__).parent / "templates"
_FILES = ("subject.txt", "preview.txt", "body.txt", "body.html")
_SHARED = ("frame.html", "parts.html", "sign_off.txt")
_PREVIEW_ROOM = 110  # characters; inboxes show fewer
_COLUMNS = 72
# Not from `strftime`, which would write in the machine's language.
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)


class Letters:
    """The templates, read once and kept. Safe to share between threads."""

    def __init__(self, folder: Path = _SHOP) -> None:
        self._folder = folder
        self._environment = Environment(
            loader=FileSystemLoader(folder),
            autoescape=select_autoescape(enabled_extensions=("html",), default=False),
            undefined=StrictUndefined,
            finalize=_never_none,
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
            TemplateGap: no such template, a fact that carries the meaning is missing, or the
                template asks for something that is not there. Nothing half-written comes out.
        """
        if facts.template not in TEMPLATES:
            raise TemplateGap("there is no template of that name")
        known = variables(facts)
        known["subject"] = self._line(facts.template, "subject.txt", known)
        known["preview"] = cut_at_word(
            self._line(facts.template, "preview.txt", known), _PREVIEW_ROOM
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
            raise TemplateGap(f"the template {template}/{file} has a gap: {error}") from error


def _never_none(value: object) -> object:
    if value is None:
        raise TemplateGap("a template prints something that is not known")
    return value


def _day(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _stop(title: str) -> str:
    """Return what must follow a title that ends a sentence."""
    return "" if title.endswith((".", "!", "?", "…")) else "."


def _wrapped(text: str) -> str:
    """Lay out plain text: a blank line parts paragraphs; list items and links start a line."""
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
