"""The values of a letter: what it is about, and what it says. No look-ups, no templates.

Where each fact comes from is the business of whoever fills `LetterFacts`; a fact that is unknown
is None, and the sentence that needs it is left out.
"""

from dataclasses import dataclass
from datetime import date

from schemas.errors import Permanent
from schemas.vocabulary import CompletionType


class TemplateGap(Permanent):
    """A letter lacks what carries its meaning, or its template is broken; it is not written."""


@dataclass(frozen=True, slots=True)
class LessonLine:
    """One lesson that a letter is about."""

    title: str
    completion_type: CompletionType


@dataclass(frozen=True, slots=True)
class LetterFacts:
    """All that a letter may say. Texts are as the source has them; composing cleans them.

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
