"""From the facts of a letter to the variables of its templates. Pure; knows no wording.

A variable that is unknown is None, and its template leaves the sentence out. What carries the
meaning of a letter must be there, or the letter has a gap.
"""

import re
from typing import Any

from schemas.vocabulary import CompletionType
from workers.actions.email.foreign_text import cut_at_word, greetable, one_line
from workers.actions.email.letter import LetterFacts, TemplateGap

TEXT_LANGUAGE = "en"  # what the templates are written in, whatever the reader's language
_RIGHT_TO_LEFT = frozenset({"ar", "he", "iw"})
_MOST_TITLES = 6  # in one list; of more, the first five are named
_SUMMARY_ROOM = 240  # characters of the course's summary
_WEB_ADDRESS = re.compile(r"https?://[^\s\x00-\x20\x7f-\x9f<>\"]+", re.IGNORECASE)


def variables(facts: LetterFacts) -> dict[str, Any]:
    """Return what every template may use, all foreign text clean.

    Raises `TemplateGap` if the course or a lesson has no title, if a lesson letter has no lesson,
    or if an address to link to is no web address.
    """
    lessons = [_carrying(line.title, "a lesson's title") for line in facts.lessons]
    if facts.template == "lesson-finished" and not lessons:
        raise TemplateGap("the letter is about lessons and has none")
    shown = lessons if len(lessons) <= _MOST_TITLES else lessons[: _MOST_TITLES - 1]
    started_on, finished_on = facts.started_on, facts.finished_on
    if started_on and finished_on and started_on > finished_on:
        started_on = None  # enrolled anew after finishing: that day says nothing about this course
    counted = 0 <= facts.done <= facts.total and facts.total > 0
    return {
        "lang": TEXT_LANGUAGE,
        "dir": direction(facts.language),
        "greeting_name": greetable(facts.first_name, facts.full_name)
        if facts.is_individual
        else None,
        "course": _carrying(facts.course, "the course's title"),
        "summary": cut_at_word(one_line(facts.course_summary), _SUMMARY_ROOM) or None,
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


def _carrying(text: str, what: str) -> str:
    clean = one_line(text)
    if not clean:
        raise TemplateGap(f"{what} is empty")
    return clean


def _address(url: str | None) -> str | None:
    if not url:
        return None
    if not _WEB_ADDRESS.fullmatch(url):
        raise TemplateGap("an address to link to is no web address")
    return url
