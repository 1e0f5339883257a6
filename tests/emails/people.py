"""Emails to awkward people: every template, with facts that are missing, long, foreign or many."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from schemas.actions import NOTICE
from schemas.entity import CompletionType
from schemas.events import EventKind
from workers.actions.email.branding import Branding
from workers.actions.email.content import LessonLine, LetterFacts
from workers.actions.email.letter import Letter, Letters
from workers.actions.email.notice import Notice
from workers.languages import language_for

_WELCOME = LetterFacts(
    template="welcome",
    full_name="Ana Lopez",
    first_name="Ana",
    is_individual=True,
    course="Freelance Finance",
    course_summary="Invoices, taxes and what to put aside.",
    host="Rita Okafor",
    space="Harbour Works",
    lessons=(),
    done=0,
    total=8,
    first_lesson="What a year costs",
    next_lesson="What a year costs",
    started_on=None,
    finished_on=None,
    course_url="https://harbour.example/learn/12?a=1&b=2",
    lesson_url="https://harbour.example/learn/12/lesson/3",
    preferences_url="https://courses.example/p/6XbVqW1TzO8",
)
_LESSON = replace(
    _WELCOME,
    template="lesson-finished",
    lessons=(LessonLine("Your first invoice", CompletionType.BUTTON),),
    done=5,
    next_lesson="Money for tax",
)
# What each email says to a person about whom everything is known.
ORDINARY: Mapping[str, LetterFacts] = {
    "welcome": _WELCOME,
    "lesson-finished": _LESSON,
    "course-finished": replace(
        _WELCOME,
        template="course-finished",
        done=8,
        started_on=date(2026, 3, 3),
        finished_on=date(2026, 4, 9),
        next_course="Pricing your work",
        next_course_url="https://harbour.example/learn/13",
        certificate_url="https://courses.example/c/7KQ2-M4XW",
    ),
    "not-started": replace(_WELCOME, template="not-started", is_reminder=True),
    "stalled": replace(
        _LESSON, template="stalled", lessons=(), last_lesson="Your first invoice", is_reminder=True
    ),
    "lesson-available": replace(_LESSON, template="lesson-available", is_reminder=True),
    NOTICE: replace(
        _LESSON,
        template=NOTICE,
        full_name="Rita Okafor",
        first_name="Rita",
        finished_on=date(2026, 4, 9),
        notice=Notice("Ana Lopez", EventKind.LESSON_COMPLETED, to_host=True),
    ),
}
# Everything that can be missing is missing.
NOTHING_KNOWN: Mapping[str, Any] = {
    **dict.fromkeys(("first_name", "course_summary", "host", "space", "last_lesson")),
    **dict.fromkeys(("first_lesson", "next_lesson", "next_course", "started_on", "finished_on")),
    **dict.fromkeys(("course_url", "lesson_url", "next_course_url", "preferences_url")),
    "full_name": "",
    "certificate_url": None,
    "done": 0,
    "total": 0,
}

_LONG_TITLE = (
    "Everything a freelancer should know about invoices, taxes, pensions and insurance before the"
    " first client signs, and for ten years after"
)
_ONE_WORD = "Donaudampfschifffahrtsgesellschaftskapitaen" * 3 + "ert"
_EMOJI = "\U0001f469\u200d\U0001f4bb Money \U0001f4b8 for \U0001f3f3\ufe0f\u200d\U0001f308 makers"
_HEBREW = "\u05d9\u05e1\u05d5\u05d3\u05d5\u05ea \u05d4\u05de\u05d9\u05de\u05d5\u05df (2026)"
_ARABIC = "\u0623\u0633\u0627\u0633\u064a\u0627\u062a \u0627\u0644\u062a\u0645\u0648\u064a\u0644"
_JAPANESE = "\u8cbb\u7528\u3068\u7a0e\u91d1\u306e\u57fa\u790e"
_MARKUP = "<b>\"Money\" & 'tax'</b> </p><script>alert(1)</script>"

_PLAIN = Branding()
_BRANDED = Branding(
    colour="#FFD400",
    name="Harbour Works Lisboa",
    logo_url="https://harbour.example/logo.png",
    address="Rua da Prata 1, 1100-052 Lisboa, Portugal",
    signs_as_host=True,
    reads_replies=True,
)


def _without_name(facts: LetterFacts) -> LetterFacts:
    return replace(facts, full_name="", first_name=None)


def _with_nothing_known(facts: LetterFacts) -> LetterFacts:
    return replace(facts, **NOTHING_KNOWN)


def _titled(
    title: str, name: str, lesson: str | None = None
) -> Callable[[LetterFacts], LetterFacts]:
    """Return what gives every text that others wrote this title, and every person this name."""
    of_lesson = lesson or title

    def change(facts: LetterFacts) -> LetterFacts:
        return replace(
            facts,
            full_name=name,
            first_name=name,
            host=name,
            space=title,
            course=title,
            course_summary=f"{title}. {title}.",
            lessons=tuple(replace(one, title=of_lesson) for one in facts.lessons),
            first_lesson=facts.first_lesson and of_lesson,
            last_lesson=facts.last_lesson and of_lesson,
            next_lesson=facts.next_lesson and of_lesson,
            next_course=facts.next_course and title,
            notice=facts.notice and replace(facts.notice, member=name),
        )

    return change


def _with_one_lesson(facts: LetterFacts) -> LetterFacts:
    done = 1 if facts.template in {"lesson-finished", "course-finished"} else 0
    return replace(facts, total=1, done=done, next_lesson=None if done else facts.next_lesson)


def _with_thirty_lessons(facts: LetterFacts) -> LetterFacts:
    titles = [f"Lesson {number}: {_LONG_TITLE[:60]}" for number in range(1, 31)]
    lines = tuple(LessonLine(title, CompletionType.VISITED) for title in titles)
    return replace(
        facts,
        total=1_030,
        done=30 if facts.done else 0,
        lessons=lines if facts.lessons else (),
        is_weekly=True,
    )


@dataclass(frozen=True, slots=True)
class AwkwardPerson:
    """What is unusual about a person, a course or a space."""

    change: Callable[[LetterFacts], LetterFacts]
    branding: Branding = _PLAIN


PEOPLE: Mapping[str, AwkwardPerson] = {
    "ordinary": AwkwardPerson(lambda facts: facts),
    "no-name": AwkwardPerson(_without_name),
    "nothing-known": AwkwardPerson(_with_nothing_known),
    "long-title": AwkwardPerson(_titled(_LONG_TITLE, "Wolfeschlegelsteinhausenbergerdorff")),
    "one-long-word": AwkwardPerson(_titled(_ONE_WORD, "W" * 40), _BRANDED),
    "emoji": AwkwardPerson(_titled(_EMOJI, "Zo\u00eb \U0001f393")),
    "right-to-left": AwkwardPerson(_titled(_HEBREW, "\u05e0\u05d5\u05e2\u05d4", _ARABIC)),
    "japanese": AwkwardPerson(_titled(_JAPANESE, "\u4f50\u85e4 \u82b1\u5b50")),
    "markup": AwkwardPerson(_titled(_MARKUP, "<i>Ana</i>")),
    "one-lesson": AwkwardPerson(_with_one_lesson),
    "thirty-lessons": AwkwardPerson(_with_thirty_lessons),
    "branded": AwkwardPerson(lambda facts: facts, _BRANDED),
}


@dataclass(frozen=True, slots=True)
class EmailCase:
    """One email to check, with the language and the direction that it must be in."""

    language: str
    direction: str
    template: str
    person: str
    letter: Letter

    @property
    def name(self) -> str:
        """Return what the case is called in reports."""
        return f"{self.language} {self.template} {self.person}"


def email_case(language: str, template: str, person: str) -> EmailCase:
    """Compose the email that a person gets in a language."""
    awkward = PEOPLE[person]
    facts = replace(awkward.change(ORDINARY[template]), languages=(language,))
    letter = Letters(awkward.branding).compose(facts)
    return EmailCase(language, language_for(language).direction, template, person, letter)


def every_case(languages: Iterable[str]) -> Iterator[EmailCase]:
    """Compose every email to every person in these languages."""
    for language in languages:
        for template in ORDINARY:
            for person in PEOPLE:
                yield email_case(language, template, person)


def one_case_each(languages: Iterable[str]) -> Iterator[EmailCase]:
    """Compose one email in each of these languages, about another person each time."""
    templates, people = [*ORDINARY], [*PEOPLE]
    for place, language in enumerate(languages):
        yield email_case(language, templates[place % len(templates)], people[place % len(people)])
